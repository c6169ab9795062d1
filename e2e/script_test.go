//go:build unix

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"runtimed/internal/daemon"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// TestScripts has runt talk to stand-ins of a daemon, or to nobody.
func TestScripts(t *testing.T) { runScripts(t, "testdata/runt") }

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"standin":     standIn,
			"locked":      locked,
			"dead-socket": deadSocket,
			"wait-for":    waitFor,
		},
	})
}

// setup gives each script a HOME and a socket of its own; the socket's path must stay short.
func setup(e *testscript.Env) error {
	dir, err := os.MkdirTemp("", "runt")
	if err != nil {
		return err
	}
	e.Defer(func() {
		stopDaemon(filepath.Join(dir, "s"))
		os.RemoveAll(dir)
	})
	alone, both := filepath.Join(dir, "bin"), filepath.Dir(runtProgram) // runt finds its daemon on PATH, not beside it
	if err := os.Mkdir(alone, 0o755); err != nil {
		return err
	}
	if err := os.Link(runtProgram, filepath.Join(alone, filepath.Base(runtProgram))); err != nil {
		return err
	}
	e.Setenv("PATH", strings.Join([]string{alone, e.Getenv("PATH"), both}, string(os.PathListSeparator)))
	e.Setenv("GORACE", "atexit_sleep_ms=0")
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("SHORT", dir)
	e.Setenv("RUNTIMED_SOCKET", filepath.Join(dir, "s"))
	e.Setenv("RUNTIMED_NO_START", "1")
	e.Setenv("RUNTIMED_UV_POOL_SIZE", "0")
	e.Setenv("RUNTIMED_CONDA_POOL_SIZE", "0")
	return nil
}

// stopDaemon ends what a script has left running.
func stopDaemon(socket string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := rpc.Dial(ctx, socket, rpc.ClientOptions{})
	if err != nil {
		return
	}
	defer c.Close()
	var info rpc.Info
	if c.Call(ctx, rpc.MethodInfo, nil, &info) != nil || c.Call(ctx, rpc.MethodShutdown, nil, nil) != nil {
		return
	}
	for i := 0; i < 200 && daemon.Locked(filepath.Join(filepath.Dir(socket),
		statedir.LockName)); i++ { // its last words go to a log in the folder
		time.Sleep(10 * time.Millisecond)
	}
}

// exits CODE COMMAND…: as exec, but the exit code is what it must be.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// dead-socket PATH: a socket that nobody listens on, as a killed daemon leaves it.
func deadSocket(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[0], Net: "unix"})
	ts.Check(err)
	ln.SetUnlinkOnClose(false)
	ts.Check(ln.Close())
}

// wait-for FILE PATTERN: a line of the file has it within some seconds.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	for range 500 {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(data), args[1]) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s does not have %q", args[0], args[1])
}

// reply is what a stand-in answers to one method.
type reply struct {
	Result json.RawMessage   `json:"result,omitempty"`
	Error  json.RawMessage   `json:"error,omitempty"`
	Notify []json.RawMessage `json:"notify,omitempty"` // sent before the answer
	After  []json.RawMessage `json:"after,omitempty"`  // sent after it
	Delay  int               `json:"delay_ms,omitempty"`
	Raw    string            `json:"raw,omitempty"`   // instead of an answer
	Close  bool              `json:"close,omitempty"` // the connection, then
	Mute   bool              `json:"mute,omitempty"`  // never answers
	Then   *reply            `json:"then,omitempty"`  // to whoever asks again
}

// standIn FILE: a daemon that says what FILE says, method by method, and writes what it is asked to "asked".
func standIn(ts *testscript.TestScript, neg bool, args []string) {
	replies := map[string]reply{
		"daemon.info": {Result: json.RawMessage(`{"name":"runtimed","version":"9.9","protocol":1,"pid":4242,` +
			`"started_at":"2026-01-02T03:04:05Z","socket":"/s","state_dir":"/d",` +
			`"config_path":"/c","uptime_ms":60000}`)},
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$WORK", ts.Getenv("WORK"))
	ts.Check(json.Unmarshal([]byte(text), &replies))
	path := ts.Getenv("RUNTIMED_SOCKET")
	os.Remove(path)
	ln, err := net.Listen("unix", path)
	ts.Check(err)
	asked, err := os.Create(ts.MkAbs("asked"))
	ts.Check(err)
	ts.Defer(func() { ln.Close(); asked.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn, replies, asked)
		}
	}()
}

// locked holds the lock of a daemon until the script ends.
func locked(ts *testscript.TestScript, _ bool, _ []string) {
	lock := safefile.NewLock(filepath.Join(ts.Getenv("SHORT"), statedir.LockName))
	free, err := lock.TryLock()
	if ts.Check(err); !free {
		ts.Fatalf("somebody else holds the lock")
	}
	ts.Defer(func() { _ = lock.Close() })
}

var changing sync.Mutex // guards the replies of all stand-ins

func serve(conn net.Conn, replies map[string]reply, asked *os.File) {
	defer conn.Close()
	var mu sync.Mutex
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Fprintln(asked, lines.Text())
		var req struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(lines.Bytes(), &req) != nil || req.ID == nil {
			continue
		}
		changing.Lock()
		r, known := replies[req.Method]
		if r.Then != nil {
			replies[req.Method] = *r.Then
		}
		changing.Unlock()
		if !known {
			r.Error = json.RawMessage(`{"code":-32601,"message":"no such method","data":{"kind":"method_not_found"}}`)
		}
		go func() {
			time.Sleep(time.Duration(r.Delay) * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			send := func(list []json.RawMessage) {
				for _, n := range list {
					fmt.Fprintf(conn, "%s\n", n)
				}
			}
			send(r.Notify)
			switch {
			case r.Mute:
			case r.Raw != "":
				fmt.Fprint(conn, r.Raw)
			case r.Error != nil:
				fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,"error":%s}`+"\n", req.ID, r.Error)
			case r.Result != nil:
				fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", req.ID, r.Result)
			}
			send(r.After)
			if r.Close {
				conn.Close()
			}
		}()
	}
}
