//go:build e2e && unix

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestItStopsWhateverIsGoingOn(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*lodger){
		"SIGTERM":         func(l *lodger) { l.signal(syscall.SIGTERM) },
		"SIGINT":          func(l *lodger) { l.signal(syscall.SIGINT) },
		"daemon.shutdown": func(l *lodger) { must[rpc.None](l.house, rpc.MethodShutdown, nil) },
		"SIGTERM twice": func(l *lodger) {
			l.signal(syscall.SIGTERM)
			_ = l.cmd.Process.Signal(syscall.SIGTERM)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn("trap '' TERM; sleep 77.125 & sleep 77.125; exit 1")
			d := h.start()
			for range 50 {
				h.dial()
			}
			var waiters sync.WaitGroup
			errs := make([]error, 5)
			for i := range errs {
				waiters.Go(func() { _, errs[i] = ask[rpc.AcquireResult](h, rpc.MethodAcquire, nil) })
			}
			h.eventually(10*time.Second, "five wait and a build hangs", func() bool {
				s := h.pool("uv")
				return s.Waiting == 5 && s.Warming > 0 && running("77.125", h.home)
			})
			stop(d)
			if code := d.exit(5 * time.Second); code != 0 {
				t.Errorf("exit code %d: %s", code, d.stderr)
			}
			waiters.Wait()
			for _, err := range errs {
				if rpc.KindOf(err) != rpc.KindShuttingDown {
					t.Errorf("a waiter was told %v", err)
				}
			}
			for _, name := range []string{"runtimed.sock", "daemon.json"} {
				if _, err := os.Lstat(h.state(name)); !os.IsNotExist(err) {
					t.Errorf("%s is still there", name)
				}
			}
			if running("77.125", h.home) {
				t.Error("a child of the build lives on")
			}
		})
	}
}

// running says whether a process with arg in its command line carries the mark of a build below home.
func running(arg, home string) bool {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, _ := os.ReadFile(path)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if bytes.Contains(line, []byte(arg)) && bytes.Contains(env, []byte("RUNT_BUILD_OF="+home)) {
			return true
		}
	}
	return false
}

func TestWhoHasTheEnvironmentsIsEndedOnItsOwnSocket(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	folder := filepath.Join(filepath.Dir(h.home), "o")
	check(t, os.Mkdir(folder, 0o700))
	second := h.launch("--socket", filepath.Join(folder, "s"))
	want := "runtimed: hint: runt daemon stop ends it, with RUNTIMED_SOCKET=" + h.socket + "\n"
	if code := second.exit(20 * time.Second); code != exitUseless || !strings.Contains(second.stderr.String(), want) {
		t.Errorf("exit code %d, and it does not say %q: %s", code, want, second.stderr)
	}
}

func TestASecondDaemonSaysWhoRunsAndTouchesNothing(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	before, err := os.Stat(h.socket)
	check(t, err)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			second := h.launch()
			if code := second.exit(20 * time.Second); code != exitUseless {
				t.Errorf("exit code %d", code)
			}
			if want := fmt.Sprintf("pid %d", d.cmd.Process.Pid); !strings.Contains(second.stderr.String(), want) {
				t.Errorf("it does not say %q: %s", want, second.stderr)
			}
		})
	}
	all.Wait()
	after, err := os.Stat(h.socket)
	if err != nil || !os.SameFile(before, after) || h.statusFile().PID != d.cmd.Process.Pid {
		t.Errorf("the first daemon's files were touched: %v", err)
	}
	must[rpc.None](h, rpc.MethodPing, nil)
}

func TestOfManyAtTheSameInstantExactlyOneLives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	var daemons []*lodger
	for range 10 {
		daemons = append(daemons, h.launch())
	}
	h.eventually(20*time.Second, "all but one have ended", func() bool {
		living := 0
		for _, d := range daemons {
			select {
			case <-d.ended:
			default:
				living++
			}
		}
		return living == 1
	})
	must[rpc.None](h, rpc.MethodPing, nil)
}

func TestWhatAKilledDaemonLeavesNeedsNoHands(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.start().kill()
	if _, err := net.Dial("unix", h.socket); err == nil {
		t.Fatal("the socket of a killed daemon answers")
	}
	h.start()
}

func TestDaemonJSONIsNeverBelieved(t *testing.T) {
	t.Parallel()
	other := exec.Command("sleep", "60")
	check(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	for name, content := range map[string]string{
		"empty": "", "cut": `{"endpoint": "/tm`, "noise": "\x00\xff\x17",
		"another's pid": fmt.Sprintf(`{"endpoint":"/tmp/x","pid":%d,"version":"1","protocol":1}`, other.Process.Pid),
		"a folder":      "",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			check(t, os.MkdirAll(h.state(), 0o700))
			if name == "a folder" {
				check(t, os.Mkdir(h.state("daemon.json"), 0o700))
			} else {
				check(t, os.WriteFile(h.state("daemon.json"), []byte(content), 0o600))
			}
			d := h.start()
			d.signal(syscall.SIGTERM)
			if code := d.exit(5 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process that daemon.json named: %v", err)
	}
}

func TestWhatCannotWorkEndsWithOneAndSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*house)
		want    []string
	}{
		"a mistyped key": {
			func(h *house) { h.configure("[pools.uv]\nsze = 1\n") }, []string{"config.toml:2", "pools.uv.sze"},
		},
		"a size of 500": {
			func(h *house) { h.configure("[pools.uv]\nsize = 500\n") },
			[]string{"config.toml:2", "pools.uv.size", "500"},
		},
		"HOME relative": {func(h *house) { h.setenv("HOME", "here") }, []string{"HOME"}},
		"a socket path of 108 bytes": {
			func(h *house) { h.setenv("RUNTIMED_SOCKET", "/tmp/"+strings.Repeat("x", 103)) },
			[]string{"108", "107", "RUNTIMED_SOCKET"},
		},
		"a file where the state directory belongs": {
			func(h *house) { write(h, h.home+"/.cache", "") }, []string{"/.cache"},
		},
		"a file where the socket belongs": {
			func(h *house) {
				check(h.t, os.MkdirAll(h.state(), 0o700))
				write(h, h.socket, "precious")
			}, []string{"runtimed.sock", "left alone"},
		},
		"a configured folder that is open to others": {
			func(h *house) {
				dir := filepath.Join(h.home, "open")
				check(h.t, os.Mkdir(dir, 0o755))
				h.configure(off)
				h.setenv("RUNTIMED_CACHE_DIR", dir)
			}, []string{"/open", "chmod 700"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			c.prepare(h)
			d := h.launch()
			if code := d.exit(10 * time.Second); code != exitUseless {
				t.Errorf("exit code %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains(d.stderr.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, d.stderr)
				}
			}
			if data, err := os.ReadFile(h.socket); err == nil && string(data) != "precious" {
				t.Error("the file in the socket's place was changed")
			}
		})
	}
}

func write(h *house, path, content string) {
	h.t.Helper()
	check(h.t, os.WriteFile(path, []byte(content), 0o644))
}

func TestTheSocketIsItsOwnersAloneWhateverTheUmask(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.script = `umask 0 && exec "$@"`
	h.start()
	for path, want := range map[string]os.FileMode{h.socket: 0o600, h.state(): 0o700, h.state("daemon.lock"): 0o600,
		h.state("daemon.json"): 0o600, h.state("runtimed.log"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
}
