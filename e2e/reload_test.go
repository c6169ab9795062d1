//go:build e2e && unix

package e2e

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

func TestABadConfigurationChangesNothingAndAGoodOneIsTakenOver(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	h.configure("[pools.uv]\nsize = \"many\"\n")
	_, err := ask[rpc.ReloadResult](h, rpc.MethodReload, nil)
	if err == nil || !strings.Contains(err.Error(), "config.toml:2") ||
		!strings.Contains(err.Error(), "pools.uv.size") {
		t.Errorf("reload of a bad configuration: %v", err)
	}
	h.configure(off + "[pools.more]\nkind = \"uv\"\nsize = 0\n")
	d.signal(syscall.SIGHUP)
	h.eventually(30*time.Second, "the new pool is there", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 3
	})
	h.configure(off)
	h.eventually(30*time.Second, "the change of the file is noticed", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 2
	})
}

func TestALockFileThatComesAfterItsConfigurationIsNoticed(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	locks := func(line string) {
		h.write(".config/runt/new.txt", "ipykernel==6.30.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n"+line)
		dir := filepath.Join(h.home, ".config/runt")
		check(t, os.Rename(filepath.Join(dir, "new.txt"), filepath.Join(dir, "team.txt")))
	}
	asked := func(n int) {
		t.Helper()
		h.eventually(30*time.Second, "it was read", func() bool {
			log, err := os.ReadFile(h.state("runtimed.log"))
			return err == nil && strings.Count(string(log), "the configuration is not taken over") == n
		})
	}
	h.configure(off + "[pools.more]\nkind = \"uv\"\nsize = 0\nlock = \"team.txt\"\n")
	asked(1)
	locks("what is this\n")
	time.Sleep(3 * time.Second)
	asked(1) // nobody is told again and again
	locks("")
	h.eventually(30*time.Second, "the pool is there", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 3
	})
}

func TestAWatcherHearsTheLastChange(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	changes := make(chan string, 100)
	c, err := rpc.Dial(t.Context(), h.socket, rpc.ClientOptions{OnNotify: func(method string, params json.RawMessage) {
		changes <- method + string(params)
	}})
	check(t, err)
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
	t.Parallel()
	h, _ := quietHouse(t)
	before := h.dial()
	for range 2 {
		for _, name := range []string{"runtimed.sock", "daemon.lock", "daemon.json"} {
			check(t, os.Remove(h.state(name)))
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
	t.Parallel()
	h := newHouse(t)
	h.flags = []string{"--uv-pool-size", "0"}
	h.start()
	h.configure("[pools.more]\nkind = \"uv\"\nsize = 0\n")
	h.eventually(30*time.Second, "the pool of the new file is there", func() bool {
		return len(must[rpc.StatusResult](h, rpc.MethodStatus, nil).Pools) == 3
	})
}

func TestADaemonThatACommandStartedEndsWhenItIsNotNeeded(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	check(t, os.MkdirAll(h.state(), 0o755))
	check(t, os.Chmod(h.state(), 0o755))
	h.start()
	if info, err := os.Stat(h.state()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestADaemonThatEndsWhenIdleWaitsForEveryClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("idle_exit = \"2s\"\n" + off)
	d := h.start("--auto")
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.StartedBy != rpc.StartedByCommand {
		t.Errorf("it was started by %s", info.StartedBy)
	}
	lives := func(who string) {
		t.Helper()
		select {
		case <-d.ended:
			t.Fatalf("it has ended beside %s", who)
		default:
		}
	}
	for i := range 10 { // one after the other, none of them there when it looks
		time.Sleep(500 * time.Millisecond)
		lives("clients that come and go")
		if i < 4 {
			must[rpc.None](h, rpc.MethodPing, nil)
		} else {
			h.runt("daemon", "start", "--auto") // whoever starts it is about to need it
		}
	}
	watcher, err := rpc.Dial(t.Context(), h.socket, rpc.ClientOptions{})
	check(t, err)
	check(t, watcher.Call(context.Background(), rpc.MethodWatch, nil, nil))
	time.Sleep(4 * time.Second)
	lives("one that watches")
	_ = watcher.Close()
	if code := d.exit(10 * time.Second); code != exitStopped {
		t.Errorf("exit code %d", code)
	}
}

// A monitor asks again and again. It must keep no daemon running, and start none by a socket that a manager listens on.
func TestADaemonThatIsOnlyLookedAtEndsWhenIdleAndMetricsStartNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("idle_exit = \"1s\"\n" + off)
	d := h.start("--auto")
	if _, said, code := h.runtEnds("", "pool", "metrics"); code != failure.OK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for end := time.Now().Add(time.Minute); ; {
		_, said, code := h.runtEnds("", "pool", "metrics")
		if code == failure.Unreachable {
			break
		}
		if code != failure.OK || time.Now().After(end) {
			t.Fatalf("exit code %d, and the daemon runs: %s", code, said)
		}
	}
	if code := d.exit(10 * time.Second); code != exitStopped {
		t.Errorf("exit code %d", code)
	}
	manager, err := net.Listen("unix", h.socket)
	check(t, err)
	defer manager.Close()
	if out, said, code := h.runtEnds("", "pool", "metrics"); code != failure.Unreachable || out != "" ||
		!strings.Contains(said, "the daemon is not running") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	check(t, manager.(*net.UnixListener).SetDeadline(time.Now().Add(100*time.Millisecond)))
	if c, err := manager.Accept(); err == nil {
		c.Close()
		t.Error("it has connected")
	}
}

func TestADaemonThatEndsWhenIdleFillsItsPoolsFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		uv    string
		ready int
	}{
		"slow builds":  {at(stepVenv, "sleep 2"), 2},
		"builds fail":  {at(stepVenv, "sleep 2; exit 1"), 0},
		"quick builds": {fastUV, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn(c.uv)
			h.configure("idle_exit = \"500ms\"\n" + quickly + "2\n")
			d := h.start("--auto")
			if code := d.exit(time.Minute); code != exitStopped {
				t.Errorf("exit code %d", code)
			}
			made, err := filepath.Glob(h.state("envs", "uv-*", "runtimed.json"))
			if check(t, err); len(made) != c.ready {
				t.Errorf("it has made %q", made)
			}
		})
	}
}

func TestAProgramThatIsReplacedUnderTheDaemonIsNoticed(t *testing.T) {
	t.Parallel()
	put := func(path string) {
		t.Helper()
		if out, err := exec.Command("cp", daemonProgram, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	h := newHouse(t)
	h.configure(off)
	dir := filepath.Dir(h.home)
	old, link := filepath.Join(dir, "runtimed-1"), filepath.Join(dir, "runtimed")
	put(old)
	check(t, os.Symlink("runtimed-1", link))
	replaced := func() bool { return must[rpc.Info](h, rpc.MethodInfo, nil).Replaced }

	h.program = old
	d := h.start()
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.Program != old || info.Replaced ||
		info.StartedBy != rpc.StartedByHand {
		t.Errorf("at first it says %+v", info)
	}
	check(t, os.Remove(old))
	if replaced() {
		t.Error("a program that is gone counts as replaced")
	}
	put(old + ".new")
	check(t, os.Rename(old+".new", old))
	if !replaced() {
		t.Error("a program that was renamed into its place is not noticed")
	}
	d.stop()

	h.program = link
	h.start()
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.Program != link || info.Replaced {
		t.Errorf("by its link it says %+v", info)
	}
	put(filepath.Join(dir, "runtimed-2"))
	check(t, os.Symlink("runtimed-2", link+".new"))
	check(t, os.Rename(link+".new", link))
	if !replaced() {
		t.Error("a link that was turned to another program is not noticed")
	}
}
