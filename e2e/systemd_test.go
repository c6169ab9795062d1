//go:build e2e && unix

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/rpc"
)

// noManager is the exit code of with-systemd-user where this machine lets no manager run.
const noManager = 77

// TestSystemdMakesTheSocketAgainThatSomebodyDeleted runs under a real manager. The daemon asks it, since only it can.
func TestSystemdMakesTheSocketAgainThatSomebodyDeleted(t *testing.T) {
	tool, err := filepath.Abs("../testdata/tools/with-systemd-user")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		lacking(t, "a systemd of one's own takes root")
	}
	t.Parallel() // there is one manager of the machine at a time, so it mostly waits for the other
	h := newHouse(t)
	h.configure(off)
	units := filepath.Join(h.home, ".config/systemd/user")
	if err := os.MkdirAll(units, 0o755); err != nil {
		t.Fatal(err)
	}
	write(h, filepath.Join(units, "runtimed.socket"), fmt.Sprintf(
		"[Socket]\nListenStream=%s\nSocketMode=0600\nDirectoryMode=0700\nRemoveOnStop=yes\n", h.socket))
	write(h, filepath.Join(units, "runtimed.service"), fmt.Sprintf(
		"[Unit]\nRequires=runtimed.socket\nAfter=runtimed.socket\n"+
			"[Service]\nType=notify\nRestart=on-failure\nRestartPreventExitStatus=1\nWatchdogSec=5\n"+
			"ExecStart=%s run --conda-pool-size 0\n", daemonProgram))

	manager := exec.Command(tool, "sh", "-c",
		"systemctl --user start runtimed.socket && echo ready && cat; journalctl --user-unit runtimed --no-pager -n 200")
	manager.Env = append(os.Environ(), "SD_HOME="+h.home)
	release, err := manager.StdinPipe() // cat ends with it, and the manager with cat
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := manager.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	manager.Stderr = &said
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	end := sync.OnceValue(func() error {
		_ = release.Close()
		journal, _ := io.ReadAll(out)
		err := manager.Wait()
		said.Write(journal)
		return err
	})
	t.Cleanup(func() {
		if err := end(); err != nil && !t.Skipped() {
			t.Errorf("the manager: %v", err)
		}
		if t.Failed() {
			t.Logf("the manager and its journal: %s", said.String())
		}
	})
	ready, _ := out.ReadString('\n') // once no other test has a manager: there is one at a time
	if ready != "ready\n" {
		err := end()
		if manager.ProcessState.ExitCode() == noManager {
			lacking(t, said.String())
		}
		t.Fatalf("the manager said %q: %v", ready, err)
	}

	first := must[rpc.Info](h, rpc.MethodInfo, nil) // the first connection brings the daemon
	if first.StartedBy != rpc.StartedByService {
		t.Errorf("it was started by %s", first.StartedBy)
	}
	time.Sleep(7 * time.Second) // longer than the watchdog's patience
	if now := must[rpc.Info](h, rpc.MethodInfo, nil); now.PID != first.PID {
		t.Error("the watchdog has ended it")
	}
	open := h.dial()
	for _, path := range []string{h.socket, h.state()} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		var now rpc.Info
		h.eventually(15*time.Second, path+" is deleted, and a daemon answers again", func() bool {
			now, err = ask[rpc.Info](h, rpc.MethodInfo, nil)
			return err == nil
		})
		if now.PID == first.PID {
			t.Error("it is the same daemon, so it has bound the socket itself")
		}
		if info, err := os.Lstat(h.socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the new socket: %v, %v", info, err)
		}
		first = now
	}
	_ = open.Close()
}
