//go:build e2e && unix

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// What a daemon ends with, as operations.md tells.
const (
	exitStopped = 0
	exitUseless = 1
	exitCrash   = 2
)

// house is a HOME with at most one daemon, and nothing of the machine's user in it.
type house struct {
	t      testing.TB
	home   string
	socket string
	env    []string
	flags  []string

	program string // of the daemon; empty: the one under test
	script  string // a line of sh that the daemon is started by, as "$@"; empty: none
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtd") // a socket's path must be short
	check(t, err)
	h := &house{t: t, home: filepath.Join(dir, "home"), socket: filepath.Join(dir, "home/.cache/runt/runtimed.sock")}
	check(t, os.Mkdir(h.home, 0o755))
	for _, name := range []string{"TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"PIP_CERT", "PIP_INDEX_URL",
		"UV_DEFAULT_INDEX"} {
		if v, ok := os.LookupEnv(name); ok {
			h.env = append(h.env, name+"="+v)
		}
	}
	h.env = append(h.env, "HOME="+h.home, "PATH="+os.Getenv("PATH"),
		"UV_CACHE_DIR="+filepath.Join(testkit.KeptTools(t), "uv-cache"),
		// else the race detector keeps a daemon that ends for a second
		"RUNTIMED_CONDA_POOL_SIZE=0", "GORACE=atexit_sleep_ms=0")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(h.home, ".cache/runt/runtimed.log"))
			t.Logf("the daemon's log:\n%s", log[max(0, len(log)-8000):])
		}
		err := os.RemoveAll(dir)
		for end := time.Now().Add(10 * time.Second); err != nil &&
			time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			err = os.RemoveAll(dir) // a killed daemon's build may still write there
		}
		if err != nil {
			t.Error(err)
		}
	})
	return h
}

// quietHouse has a daemon whose pools are off.
func quietHouse(t testing.TB) (*house, *lodger) {
	t.Helper()
	h := newHouse(t)
	h.configure(off)
	return h, h.start()
}

// warmHouse has a daemon that has filled its pool uv with a stand-in.
func warmHouse(t testing.TB, script string, size int) (*house, *lodger) {
	t.Helper()
	h := newHouse(t).withStandIn(script)
	h.configure(fmt.Sprint(quickly, size, "\n"))
	d := h.start()
	h.filled("uv", time.Minute)
	return h, d
}

// realUV is a folder with uv in it: that of the machine, or one that was installed for the tests.
var realUV = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("uv"); err == nil {
		return filepath.Dir(path), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "runtimed-tests", "uv")
	bin := filepath.Join(dir, "bin")
	if exec.Command(filepath.Join(bin, "uv"), "--version").Run() == nil {
		return bin, nil
	}
	for _, argv := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{filepath.Join(bin, "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r",
			"../pool/uv/requirements.txt"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	return bin, nil
})

// withUV puts a real uv on the daemon's PATH.
func (h *house) withUV() *house {
	h.t.Helper()
	bin, err := realUV()
	check(h.t, err)
	h.setenv("PATH", bin+":"+os.Getenv("PATH"))
	return h
}

// ownPython is the version of the machine's Python, which the daemon asks for itself.
var ownPython = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import platform; print(platform.python_version(), end='')").Output()
	return string(out), err
})

// withStandIn puts a script in the place of uv. Asked for interpreters it names the machine's own.
func (h *house) withStandIn(script string) *house {
	h.t.Helper()
	python, err := exec.LookPath("python3")
	check(h.t, err)
	version, err := ownPython()
	check(h.t, err)
	dir := filepath.Join(h.home, "standin")
	check(h.t, os.MkdirAll(dir, 0o755))
	text := fmt.Sprintf(`#!/bin/sh
version=%s
[ "$1" = --version ] && echo uv 0.0.0 && exit
if [ "$1 $2" = 'python list' ]; then
  echo '[{"path":%q,"version":"'$version'","implementation":"cpython","variant":"default"}]'
  exit
fi
%s
`, version, python, script)
	check(h.t, os.WriteFile(filepath.Join(dir, "uv"), []byte(text), 0o755))
	h.setenv("PATH", dir+":"+os.Getenv("PATH"))
	return h
}

func (h *house) setenv(name, value string) {
	h.env = append(h.env, name+"="+value) // the last one counts
}

func (h *house) state(elem ...string) string {
	return filepath.Join(append([]string{h.home, ".cache/runt"}, elem...)...)
}

func (h *house) configure(text string) {
	h.t.Helper()
	dir := filepath.Join(h.home, ".config/runt")
	check(h.t, os.MkdirAll(dir, 0o755))
	check(h.t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o644))
}

// command is the daemon, not yet started.
func (h *house) command(args ...string) *exec.Cmd {
	h.t.Helper()
	program := cmp.Or(h.program, daemonProgram)
	argv := append(append([]string{program, "run"}, h.flags...), args...)
	if h.script != "" {
		argv = append([]string{"sh", "-c", h.script, "sh"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = h.env
	cmd.Dir = h.home
	return cmd
}

// launch starts a daemon without waiting for it to answer.
func (h *house) launch(args ...string) *lodger {
	h.t.Helper()
	return h.begin(h.command(args...))
}

// begin starts the daemon that cmd is, and ends it with the test. What it says is kept, unless its stderr goes
// elsewhere.
func (h *house) begin(cmd *exec.Cmd) *lodger {
	h.t.Helper()
	l := &lodger{house: h, cmd: cmd, stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	if cmd.Stderr == nil {
		cmd.Stderr = l.stderr
	}
	check(h.t, l.cmd.Start())
	go func() {
		_ = l.cmd.Wait() // the exit code says it
		close(l.ended)
	}()
	h.t.Cleanup(func() {
		_ = l.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-l.ended:
		case <-time.After(10 * time.Second):
			h.t.Error("the daemon did not end at the end of the test")
			l.kill()
		}
		if strings.Contains(l.stderr.String(), "DATA RACE") {
			h.t.Errorf("the daemon: %s", l.stderr)
		}
	})
	return l
}

// start starts a daemon and returns once it answers.
func (h *house) start(args ...string) *lodger {
	h.t.Helper()
	l := h.launch(args...)
	h.eventually(10*time.Second, "the daemon answers", func() bool {
		select {
		case <-l.ended:
			h.t.Fatalf("the daemon ended: %s", l.stderr)
		default:
		}
		c, err := rpc.Dial(h.t.Context(), h.socket, rpc.ClientOptions{})
		if err != nil {
			return false
		}
		defer c.Close()
		return c.Call(h.t.Context(), rpc.MethodPing, nil, nil) == nil
	})
	return l
}

func (l *lodger) signal(s syscall.Signal) {
	l.t.Helper()
	check(l.t, l.cmd.Process.Signal(s))
}
