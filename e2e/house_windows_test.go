//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// house is a profile of a user with at most one daemon, and nothing of the machine's user in it. A space and letters
// beyond ASCII are in every path.
type house struct {
	t      testing.TB
	home   string
	socket string
	env    []string

	program string // of the daemon; empty: the one under test
}

// kept is a folder that outlives the tests, for what they fetch.
func kept() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "runtimed-tests"), err
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtd Jürgen Müller ")
	check(t, err)
	return houseIn(t, dir, dir)
}

// houseIn makes a house whose profile is at home, and removes dir with it.
func houseIn(t testing.TB, dir, home string) *house {
	t.Helper()
	cache, err := kept()
	check(t, err)
	h := &house{t: t, home: home, socket: `\\.\pipe\rtd-` + rand.Text()}
	for _, name := range []string{"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PATH", "PROGRAMDATA",
		"NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "USERNAME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"PIP_INDEX_URL", "UV_DEFAULT_INDEX"} {
		if v, ok := os.LookupEnv(name); ok {
			h.setenv(name, v)
		}
	}
	if path := os.Getenv("SSL_CERT_FILE"); path != "" { // perhaps on the drive that we are on
		path, err := filepath.Abs(path)
		check(t, err)
		h.setenv("SSL_CERT_FILE", path)
	}
	for name, at := range map[string]string{"USERPROFILE": "", "LOCALAPPDATA": `AppData\Local`,
		"APPDATA": `AppData\Roaming`, "TEMP": "Temp", "TMP": "Temp"} {
		check(t, os.MkdirAll(filepath.Join(h.home, at), 0o700))
		h.setenv(name, filepath.Join(h.home, at))
	}
	h.setenv("RUNTIMED_SOCKET", h.socket)
	h.setenv("UV_CACHE_DIR", filepath.Join(cache, "uv"))
	h.setenv("RUNTIMED_CONDA_POOL_SIZE", "0")
	t.Cleanup(func() {
		h.shutDown()
		if t.Failed() {
			log, _ := os.ReadFile(h.state("runtimed.log"))
			t.Logf("the daemon's log:\n%s", log[max(0, len(log)-8000):])
		}
		err := os.RemoveAll(dir)
		for end := time.Now().Add(10 * time.Second); err != nil &&
			time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			err = os.RemoveAll(dir) // what is open cannot be removed, and what ends takes a moment
		}
		if err != nil {
			t.Error(err)
		}
	})
	return h
}

// shutDown ends the daemon that answers, if one does, and waits until it has ended.
func (h *house) shutDown() {
	h.t.Helper()
	c, err := rpc.Dial(context.Background(), h.socket, rpc.ClientOptions{})
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var info rpc.Info
	err = c.Call(ctx, rpc.MethodInfo, nil, &info)
	p, perr := os.FindProcess(info.PID)
	if err == nil {
		err = errors.Join(perr, c.Call(ctx, rpc.MethodShutdown, nil, nil))
	}
	if err != nil {
		h.t.Errorf("the daemon does not stop: %v", err)
	}
	if perr == nil {
		_, _ = p.Wait() // only the exit code of our own children can be asked for
	}
}

func (h *house) setenv(name, value string) {
	h.env = append(h.env, name+"="+value) // the last one counts
}

func (h *house) state(elem ...string) string {
	return filepath.Join(append([]string{h.home, `AppData\Local\runt`}, elem...)...)
}

func (h *house) configure(text string) {
	h.t.Helper()
	dir := filepath.Join(h.home, `AppData\Roaming\runt`)
	check(h.t, os.MkdirAll(dir, 0o700))
	check(h.t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600))
}

// said is what a command came to.
type said struct {
	out, err string
	code     int
}

// try runs a command of runt.
func (h *house) try(args ...string) said {
	h.t.Helper()
	return h.tryWith("", args...)
}

// tryWith runs a command of runt with a standard input.
func (h *house) tryWith(input string, args ...string) said {
	h.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command(runtProgram, args...)
	cmd.Env, cmd.Dir = h.env, h.home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &stderr
	began := time.Now()
	defer func() { h.t.Logf("runt %s took %.1f s", args[0], time.Since(began).Seconds()) }()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		h.t.Fatalf("runt %q: %v", args, err)
	}
	return said{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// runt runs a command that has nothing to complain of, and returns what it prints.
func (h *house) runt(args ...string) string {
	h.t.Helper()
	s := h.try(args...)
	if s.code != 0 || s.err != "" {
		h.t.Fatalf("runt %q: exit code %d: %s%s", args, s.code, s.out, s.err)
	}
	return s.out
}

// launch starts a daemon without waiting for it to answer.
func (h *house) launch(args ...string) *lodger {
	h.t.Helper()
	l := &lodger{house: h, stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	l.cmd = exec.Command(cmp.Or(h.program, daemonProgram), append([]string{"run"}, args...)...)
	l.cmd.Env, l.cmd.Dir, l.cmd.Stderr = h.env, h.home, l.stderr
	check(h.t, l.cmd.Start())
	go func() {
		_ = l.cmd.Wait() // the exit code says it
		close(l.ended)
	}()
	h.t.Cleanup(func() {
		h.shutDown()
		_ = l.cmd.Process.Kill()
		<-l.ended
	})
	return l
}

// start starts a daemon and returns once it answers.
func (h *house) start(args ...string) *lodger {
	h.t.Helper()
	l := h.launch(args...)
	h.eventually(time.Minute, "the daemon answers", func() bool {
		select {
		case <-l.ended:
			h.t.Fatalf("the daemon ended: %s", l.stderr)
		default:
		}
		return h.answers()
	})
	return l
}

// answers asks once, and not for long: under Wine, who connects at the very moment that a pipe is made is not served.
func (h *house) answers() bool {
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Second)
	defer cancel()
	c, err := rpc.Dial(ctx, h.socket, rpc.ClientOptions{})
	if err != nil {
		return false
	}
	defer c.Close()
	return c.Call(ctx, rpc.MethodPing, nil, nil) == nil
}

// warmHouse has a daemon that has filled its pool uv with a stand-in.
func warmHouse(t testing.TB, size string) (*house, *lodger) {
	t.Helper()
	h := newHouse(t).withStandIn()
	h.configure(quickly + size + "\n")
	d := h.start()
	h.filled("uv", time.Minute)
	return h, d
}

// lives says whether a process runs.
func lives(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	var ended error
	err = p.WithHandle(func(handle uintptr) { ended = stillRuns(handle) })
	return errors.Join(err, ended) == nil
}
