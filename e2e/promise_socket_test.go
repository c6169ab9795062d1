//go:build e2e && unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

func TestWhatTookTheSocketsPlaceIsNeverRemoved(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(h *house){
		"a file": func(h *house) { write(h, h.socket, "precious") },
		"another program's socket": func(h *house) {
			l, err := net.Listen("unix", h.socket)
			check(h.t, err)
			h.t.Cleanup(func() { _ = l.Close() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, d := quietHouse(t)
			check(t, os.Remove(h.socket))
			put(h)
			before, err := os.Lstat(h.socket)
			check(t, err)
			if code := d.exit(20 * time.Second); code != exitCrash {
				t.Errorf("exit code %d", code)
			}
			if after, err := os.Lstat(h.socket); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was in the socket's place: %v", err)
			}
		})
	}
}

func TestAFolderThatIsDeletedUnderARunningDaemonComesBack(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	check(t, os.RemoveAll(h.state()))
	h.eventually(20*time.Second, "the daemon is reachable again", func() bool {
		_, err := ask[rpc.None](h, rpc.MethodPing, nil)
		return err == nil
	})
}

func TestASecondDaemonMakesNoFolderAndChangesNoRights(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	check(t, os.Chmod(h.state(), 0o755))
	other := filepath.Join(h.home, "elsewhere")
	if code := h.launch("--cache-dir", other).exit(20 * time.Second); code != exitUseless {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Error("it made a folder")
	}
	if info, err := os.Stat(h.state()); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the rights were changed: %v", info.Mode())
	}
}

func TestNobodyIsToldToCloseAFolderThatOthersNeed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	shared := filepath.Join(h.home, "tmp")
	check(t, os.Mkdir(shared, 0o777))
	check(t, os.Chmod(shared, 0o777|os.ModeSticky))
	h.setenv("RUNTIMED_SOCKET", filepath.Join(shared, "s"))
	d := h.launch()
	if code := d.exit(10 * time.Second); code != exitUseless || strings.Contains(d.stderr.String(), "chmod") ||
		!strings.Contains(d.stderr.String(), shared) {
		t.Errorf("exit code %d: %s", code, d.stderr)
	}
	if entries, _ := os.ReadDir(shared); len(entries) > 0 {
		t.Errorf("it left %v there", entries)
	}
}

func TestWatchingAgainAndAgainLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.program = plainDaemon(t) // the race detector has a memory of its own
	h.configure(off)
	d := h.start()
	c, err := rpc.Dial(t.Context(), h.socket, rpc.ClientOptions{OnNotify: func(string, json.RawMessage) {}})
	check(t, err)
	defer c.Close()
	cycle := func(n int) int64 {
		for range n {
			for _, method := range []string{rpc.MethodWatch, rpc.MethodUnwatch} {
				check(t, c.Call(context.Background(), method, nil, nil))
			}
		}
		return usage(d.cmd.Process.Pid).rss
	}
	before := cycle(1000)
	if after := cycle(5000); after > before+15<<20 {
		t.Errorf("resident %d MB after 1,000 watches, %d MB after 6,000", before>>20, after>>20)
	}
}

func TestTheBoundOfAllEnvironmentsHoldsForBuildsSideBySide(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV + `
[ "$1 $2" = 'pip sync' ] && head -c 4000000 /dev/zero >"$site/big" &&
  echo 'big,,4000000' >>"$site/ipykernel-7.0.0.dist-info/RECORD"; true`)
	h.configure("[build]\nparallel = 4\nmin_free = \"1MB\"\nmax_size = \"9MB\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", time.Minute)
	h.configure("[build]\nparallel = 4\nmin_free = \"1MB\"\nmax_size = \"9MB\"\n[pools.uv]\nsize = 6\n")
	h.eventually(time.Minute, "the bound is the reason", func() bool {
		e := h.pool("uv").Error
		return e != nil && e.Cause == builder.CauseDiskFull && strings.Contains(e.Message, "max_size")
	})
	h.eventually(time.Minute, "no build runs", func() bool { return h.pool("uv").Warming == 0 })
	if s := h.pool("uv"); s.Available != 2 {
		t.Errorf("%d environments of 4 MB are ready under a bound of 9 MB", s.Available)
	}
	got := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())})
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID})
	h.eventually(20*time.Second, "what was released makes room at once",
		func() bool { return h.pool("uv").Available == 2 })
}

func TestADaemonThatStopsHoldsItsLocksNoLongerThanItsProcessLives(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn("trap '' TERM; sleep 66.5; exit 1")
	d := h.start()
	h.eventually(10*time.Second, "a build hangs", func() bool { return running("66.5", h.home) })
	d.signal(syscall.SIGTERM)
	d.exit(5 * time.Second)
	if code := func() int {
		n := h.start("--uv-pool-size", "0")
		n.signal(syscall.SIGTERM)
		return n.exit(5 * time.Second)
	}(); code != 0 {
		t.Error(fmt.Sprint("the next daemon ended with ", code))
	}
}

func TestAnotherUserCannotConnect(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can try as another user")
	}
	asNobody := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd
	}
	python := "python3"
	if asNobody(exec.Command(python, "-c", "")).Run() != nil { // it may lie in root's home
		python = "/usr/bin/python3"
		if err := asNobody(exec.Command(python, "-c", "")).Run(); err != nil {
			lacking(t, fmt.Sprintf("another user has no Python: %v", err))
		}
	}
	h, _ := quietHouse(t)
	ask := func() (string, error) {
		cmd := asNobody(exec.Command(python, "-c", netcatScript, "-N", "-U", h.socket))
		cmd.Stdin = strings.NewReader(line(1, rpc.MethodPing, nil))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if said, err := ask(); err == nil || !strings.Contains(said, "ermission denied") {
		t.Errorf("another user: %v, %q", err, said)
	}
	check(t, os.Chmod(h.socket, 0o666))
	for dir := h.state(); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o711))
	}
	if said, _ := ask(); strings.Contains(said, "result") || strings.Contains(said, "jsonrpc") {
		t.Errorf("another user, let in by the folders: %q", said)
	}
	if said := h.logged("a connection of another user was refused"); len(said) != 1 {
		t.Errorf("the log says it %d times", len(said))
	}
}

func TestWithoutLocksItDoesNotRun(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		lacking(t, "strace, which makes flock fail, is not installed")
	}
	h := newHouse(t)
	h.configure(off)
	h.script = "exec strace -f -qq -o /dev/null -e trace=flock -e inject=flock:error=ENOLCK \"$@\""
	d := h.launch()
	if code := d.exit(time.Minute); code != exitUseless {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"this file system has no locks", "RUNTIMED_SOCKET", "cache_dir"} {
		if !strings.Contains(d.stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.stderr)
		}
	}
	if _, err := os.Lstat(h.socket); err == nil {
		t.Error("it has made its socket")
	}
}

func TestDaemonAndClientsMeetWhateverElseIsInTheirEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.env = []string{"HOME=" + h.home} // as env -i would
	d := h.start()
	link := h.home + "-link"
	check(t, os.Symlink(h.home, link))
	for name, env := range map[string]map[string]string{
		"the same": {"HOME": h.home},
		"other folders": {"HOME": h.home, "TMPDIR": "/nowhere", "XDG_RUNTIME_DIR": "/nowhere",
			"XDG_CONFIG_HOME": "/nowhere"},
		"a relative cache folder": {"HOME": h.home, "XDG_CACHE_HOME": "cache"},
		"a link":                  {"HOME": link},
	} {
		path, err := rpc.SocketPath(runtime.GOOS, func(name string) string { return env[name] })
		check(t, err)
		c, err := rpc.Dial(t.Context(), path, rpc.ClientOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var info rpc.Info
		if err := c.Call(t.Context(), rpc.MethodInfo, nil, &info); err != nil || info.PID != d.cmd.Process.Pid {
			t.Errorf("%s: %v, pid %d", name, err, info.PID)
		}
		c.Close()
	}
}

func TestASocketPathThatFitsWorksAndALongerOneIsRefusedWithTheLimit(t *testing.T) {
	t.Parallel()
	for _, length := range []int{104, 107, 108, 200} {
		h := newHouse(t)
		h.configure(off)
		dir := filepath.Join(filepath.Dir(h.home), "s")
		check(t, os.Mkdir(dir, 0o700))
		h.socket = dir + "/" + strings.Repeat("x", length-len(dir)-1)
		h.setenv("RUNTIMED_SOCKET", h.socket)
		if length <= 107 {
			h.start()
			continue
		}
		d := h.launch()
		if code := d.exit(10 * time.Second); code != exitUseless ||
			!strings.Contains(d.stderr.String(), fmt.Sprintf("is %d bytes long, and this system allows 107", length)) {
			t.Errorf("%d bytes: exit code %d, %s", length, code, d.stderr)
		}
	}
}
