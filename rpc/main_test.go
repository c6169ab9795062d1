package rpc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"runtimed/internal/testkit"
)

// envListen is the place where this program is to listen for one connection, in place of the tests.
const envListen = "RPC_TEST_LISTEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(envListen); path != "" {
		if err := tellWhoConnects(path); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor"))
}

func tellWhoConnects(path string) error {
	ln, err := Listen(path)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	nc, err := ln.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	peer, err := PeerOf(nc)
	if err != nil {
		return err
	}
	fmt.Println(peer.PID)
	_, err = io.Copy(io.Discard, nc)
	return err
}

func TestEachEndKnowsTheProcessAtTheOther(t *testing.T) {
	path := place(t)
	listener := exec.Command(os.Args[0])
	listener.Env = append(os.Environ(), envListen+"="+path)
	out, err := listener.StdoutPipe()
	testkit.Check(t, err)
	testkit.Check(t, listener.Start())
	said := bufio.NewScanner(out)
	if !said.Scan() || said.Text() != "listening" {
		t.Fatal(said.Text())
	}
	c, err := Dial(t.Context(), path, ClientOptions{})
	testkit.Check(t, err)
	if peer, err := c.Peer(); err != nil || peer.PID != listener.Process.Pid {
		t.Errorf("%d listens, not %d: %v", peer.PID, listener.Process.Pid, err)
	}
	if said.Scan(); strings.TrimSpace(said.Text()) != fmt.Sprint(os.Getpid()) {
		t.Errorf("%s connects, not %d", said.Text(), os.Getpid())
	}
	c.Close()
	testkit.Check(t, listener.Wait())
}
