package main

import (
	"bytes"
	"context"
	"encoding/json"
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

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/rpc"
)

const off = "[pools.uv]\nsize = 0\n"

func TestTheListOfPartsFitsTogether(t *testing.T) {
	d := &daemon{log: zap.NewNop(), at: paths{socket: "/s", folder: "/", state: t.TempDir()}}
	d.cfg.Store(&config.Config{})
	if err := fx.ValidateApp(parts(d)); err != nil {
		t.Error(err)
	}
}

func TestThePackagesAreLeaves(t *testing.T) {
	ours := []string{"runtimed/rpc", "runtimed/pool", "runtimed/config"}
	for _, name := range ours {
		out, err := exec.Command("go", "list", "-deps", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			if dep != name && (strings.HasPrefix(dep, "runtimed/") || strings.HasPrefix(dep, "go.uber.org/fx")) {
				t.Errorf("%s reaches %s", name, dep)
			}
			if name != "runtimed/rpc" && strings.HasPrefix(dep, "github.com/sourcegraph/jsonrpc2") {
				t.Errorf("%s reaches %s", name, dep)
			}
		}
	}
}

func TestItStopsWhateverIsGoingOn(t *testing.T) {
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

func TestASecondDaemonSaysWhoRunsAndTouchesNothing(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	d := h.start()
	before, err := os.Stat(h.socket)
	if err != nil {
		t.Fatal(err)
	}
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
	h := newHouse(t)
	h.configure(off)
	h.start().kill()
	if _, err := net.Dial("unix", h.socket); err == nil {
		t.Fatal("the socket of a killed daemon answers")
	}
	h.start()
}

func TestDaemonJSONIsNeverBelieved(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	for name, content := range map[string]string{
		"empty": "", "cut": `{"endpoint": "/tm`, "noise": "\x00\xff\x17",
		"another's pid": fmt.Sprintf(`{"endpoint":"/tmp/x","pid":%d,"version":"1","protocol":1}`, other.Process.Pid),
		"a folder":      "",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			if err := os.MkdirAll(h.state(), 0o700); err != nil {
				t.Fatal(err)
			}
			if name == "a folder" {
				if err := os.Mkdir(h.state("daemon.json"), 0o700); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(h.state("daemon.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
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
	for name, c := range map[string]struct {
		prepare func(*house)
		want    []string
	}{
		"a mistyped key": {
			func(h *house) { h.configure("[pools.uv]\nsze = 1\n") }, []string{"config.toml:2", "pools.uv.sze"},
		},
		"a size of 500": {
			func(h *house) { h.configure("[pools.uv]\nsize = 500\n") }, []string{"config.toml:2", "pools.uv.size", "500"},
		},
		"HOME unset":    {func(h *house) { h.setenv("HOME", "") }, []string{"HOME"}},
		"HOME relative": {func(h *house) { h.setenv("HOME", "here") }, []string{"HOME"}},
		"a socket path of 108 bytes": {
			func(h *house) { h.setenv("RUNTIMED_SOCKET", "/tmp/"+strings.Repeat("x", 103)) }, []string{"108", "107", "RUNTIMED_SOCKET"},
		},
		"a file where the state directory belongs": {
			func(h *house) { write(h, h.home+"/.cache", "") }, []string{"/.cache"},
		},
		"a file where the socket belongs": {
			func(h *house) {
				if err := os.MkdirAll(h.state(), 0o700); err != nil {
					h.t.Fatal(err)
				}
				write(h, h.socket, "precious")
			}, []string{"runtimed.sock", "left alone"},
		},
		"a configured folder that is open to others": {
			func(h *house) {
				dir := filepath.Join(h.home, "open")
				if err := os.Mkdir(dir, 0o755); err != nil {
					h.t.Fatal(err)
				}
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
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func TestTheSocketIsItsOwnersAloneWhateverTheUmask(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	old := syscall.Umask(0)
	h.start()
	syscall.Umask(old)
	for path, want := range map[string]os.FileMode{h.socket: 0o600, h.state(): 0o700, h.state("daemon.lock"): 0o600, h.state("daemon.json"): 0o600, h.state("runtimed.log"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
}

func TestABadConfigurationChangesNothingAndAGoodOneIsTakenOver(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	d := h.start()
	h.configure("[pools.uv]\nsize = \"many\"\n")
	_, err := ask[rpc.ReloadResult](h, rpc.MethodReload, nil)
	if err == nil || !strings.Contains(err.Error(), "config.toml:2") || !strings.Contains(err.Error(), "pools.uv.size") {
		t.Errorf("reload of a bad configuration: %v", err)
	}
	h.configure(off + "[pools.more]\nkind = \"uv\"\nsize = 0\n")
	d.signal(syscall.SIGHUP)
	h.eventually(5*time.Second, "the new pool is there", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 3
	})
	h.configure(off)
	h.eventually(5*time.Second, "the change of the file is noticed", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 2
	})
}

func TestDiscoverTellsEveryMethod(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	h.start()
	doc := must[struct {
		Methods []struct {
			Name string `json:"name"`
		} `json:"methods"`
	}](h, rpc.MethodDiscover, nil)
	told := map[string]bool{}
	for _, m := range doc.Methods {
		told[m.Name] = true
	}
	table := (&methods{}).table()
	for _, m := range table {
		if !told[m.Name] {
			t.Errorf("%s is not told", m.Name)
		}
	}
	if len(told) != len(table)+1 || !told[rpc.MethodDiscover] {
		t.Errorf("told: %v", told)
	}
}

func TestAWatcherHearsTheLastChange(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	h.start()
	changes := make(chan string, 100)
	c, err := rpc.Dial(t.Context(), h.socket, rpc.ClientOptions{OnNotify: func(method string, params json.RawMessage) {
		changes <- method + string(params)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var first rpc.StatusResult
	if err := c.Call(context.Background(), rpc.MethodWatch, nil, &first); err != nil || len(first.Pools) != 2 {
		t.Fatalf("watch: %v, %+v", err, first)
	}
	h.configure("[pools.uv]\nsize = 2\npackages = [\"x\"]\n")
	must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	hear := func(what string) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case change := <-changes:
				if strings.HasPrefix(change, rpc.NotifyPoolChanged) && strings.Contains(change, what) {
					return
				}
			case <-deadline:
				t.Fatalf("no change arrived with %s", what)
			}
		}
	}
	hear(`"target":2`)
	h.configure(off + "[pools.more]\nkind = \"uv\"\nsize = 0\n")
	hear(`"name":"more"`)
	h.configure(off)
	hear(`"gone":true`)
}

func TestWhatIsDeletedUnderARunningDaemonComesBack(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	h.start()
	before := h.dial()
	for range 2 {
		for _, name := range []string{"runtimed.sock", "daemon.lock", "daemon.json"} {
			if err := os.Remove(h.state(name)); err != nil {
				t.Fatal(err)
			}
		}
		second := h.launch()
		if code := second.exit(10 * time.Second); code == 0 {
			t.Errorf("a second daemon ended with %d: %s", code, second.stderr)
		}
		h.eventually(10*time.Second, "the daemon is reachable again", func() bool {
			_, err := ask[rpc.None](h, rpc.MethodPing, nil)
			_, jsonErr := os.Stat(h.state("daemon.json"))
			_, lockErr := os.Stat(h.state("daemon.lock"))
			return err == nil && jsonErr == nil && lockErr == nil
		})
		if code := h.launch().exit(10 * time.Second); code != exitUseless {
			t.Errorf("another daemon ended with %d", code)
		}
		if err := before.Call(context.Background(), rpc.MethodPing, nil, nil); err != nil {
			t.Errorf("a connection from before: %v", err)
		}
	}
}

func TestAConfigurationThatIsMadeLaterIsNoticed(t *testing.T) {
	h := newHouse(t)
	h.flags = []string{"--uv-pool-size", "0"}
	h.start()
	h.configure("[pools.more]\nkind = \"uv\"\nsize = 0\n")
	h.eventually(10*time.Second, "the pool of the new file is there", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 3
	})
}

func TestADaemonThatACommandStartedEndsWhenItIsNotNeeded(t *testing.T) {
	h := newHouse(t)
	h.configure("idle_exit = \"1s\"\n" + off)
	d := h.start("--auto")
	if code := d.exit(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.configure("idle_exit = \"0\"\n" + off)
	d = h.start("--auto")
	select {
	case <-d.ended:
		t.Error("it ended, though idle_exit says never")
	case <-time.After(12 * time.Second):
	}
}

func TestADefaultStateDirectoryThatIsOpenToOthersIsClosed(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	if err := os.MkdirAll(h.state(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.state(), 0o755); err != nil {
		t.Fatal(err)
	}
	h.start()
	if info, err := os.Stat(h.state()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
