//go:build e2e && unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

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
	h := newHouse(t)
	h.configure(off)
	h.start()
	ask := func() (string, error) {
		cmd := asNobody(exec.Command(python, "-c", netcatScript, "-N", "-U", h.socket))
		cmd.Stdin = strings.NewReader(line(1, rpc.MethodPing, nil))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if said, err := ask(); err == nil || !strings.Contains(said, "ermission denied") {
		t.Errorf("another user: %v, %q", err, said)
	}
	if err := os.Chmod(h.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir := h.state(); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
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
	if err := os.Symlink(h.home, link); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]map[string]string{
		"the same":                {"HOME": h.home},
		"other folders":           {"HOME": h.home, "TMPDIR": "/nowhere", "XDG_RUNTIME_DIR": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"},
		"a relative cache folder": {"HOME": h.home, "XDG_CACHE_HOME": "cache"},
		"a link":                  {"HOME": link},
	} {
		path, err := rpc.SocketPath(runtime.GOOS, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
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
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		h.socket = dir + "/" + strings.Repeat("x", length-len(dir)-1)
		h.setenv("RUNTIMED_SOCKET", h.socket)
		if length <= 107 {
			h.start()
			continue
		}
		d := h.launch()
		if code := d.exit(10 * time.Second); code != exitUseless || !strings.Contains(d.stderr.String(), fmt.Sprintf("is %d bytes long, and this system allows 107", length)) {
			t.Errorf("%d bytes: exit code %d, %s", length, code, d.stderr)
		}
	}
}
