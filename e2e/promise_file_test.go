//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// instead puts each kind of thing in turn where a file of ours belongs.
var instead = map[string]func(path, precious string) error{
	"a link":              func(path, precious string) error { return os.Symlink(precious, path) },
	"a named pipe":        func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
	"a folder":            func(path, _ string) error { return os.Mkdir(path, 0o700) },
	"a file's other name": func(path, precious string) error { return os.Link(precious, path) },
}

func TestWhateverLiesInPlaceOfAFileOfOursNothingHangsAndNothingElseIsWritten(t *testing.T) {
	t.Parallel()
	for what, put := range instead {
		for name, says := range map[string]string{
			"config.toml": "config.toml is ", "daemon.lock": "daemon.lock is ", "daemon.json": "",
			"runtimed.log": "nothing can be logged: ",
		} {
			t.Run(what+" in place of "+name, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.configure(off)
				path, precious := h.state(name), filepath.Join(h.home, "precious")
				if name == "config.toml" {
					path = filepath.Join(h.home, ".config/runt", name)
					says = path + ": is "
				}
				text := []byte("[pools.uv]\nsize = 0\n# precious\n")
				check(t, errors.Join(os.MkdirAll(h.state(), 0o700), os.WriteFile(precious, text, 0o600),
					os.RemoveAll(path), put(path, precious)))
				users, other := what == "a link" || what == "a file's other name", what == "a file's other name"
				if name == "config.toml" && !users || name == "daemon.lock" && !other { // it must be read, or taken
					l := h.launch()
					if code := l.exit(10 * time.Second); code != exitUseless ||
						!strings.Contains(l.stderr.String(), says+strings.TrimPrefix(what, "is ")) {
						t.Errorf("exit code %d: %s", code, l.stderr)
					}
				} else {
					l := h.start()
					must[rpc.StatusResult](h, rpc.MethodStatus, nil)
					l.signal(syscall.SIGTERM)
					if code := l.exit(10 * time.Second); code != exitStopped {
						t.Errorf("exit code %d: %s", code, l.stderr)
					}
					if name == "runtimed.log" && !strings.Contains(l.stderr.String(), says) {
						t.Errorf("stderr: %s", l.stderr)
					}
				}
				if data, err := os.ReadFile(precious); string(data) != string(text) {
					t.Errorf("the other file has %q, %v", data, err)
				}
			})
		}
	}
}

func TestALogThatWasNoFileBeginsOnceItIsMovedAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	check(t, errors.Join(os.MkdirAll(h.state(), 0o700), syscall.Mkfifo(h.state("runtimed.log"), 0o600)))
	h.start()
	check(t, os.Remove(h.state("runtimed.log")))
	h.eventually(10*time.Second, "the log begins", func() bool {
		data, _ := os.ReadFile(h.state("runtimed.log"))
		return len(data) > 0
	})
}

func TestALogOfTheUsersOwnIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	log := filepath.Join(h.home, "runtimed.log")
	check(t, errors.Join(os.Chmod(h.home, 0o700), os.WriteFile(log, []byte("my own notes\n"), 0o600)))
	h.socket = filepath.Join(h.home, "r.sock")
	h.setenv("RUNTIMED_SOCKET", h.socket)
	d := h.start()
	d.signal(syscall.SIGTERM)
	d.exit(10 * time.Second)
	if !strings.Contains(d.stderr.String(), "is not a daemon's log") {
		t.Errorf("it says %s", d.stderr)
	}
	if data, err := os.ReadFile(log); string(data) != "my own notes\n" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

func TestALeaseThatIsNoFileHangsNobodyAndIsNeverWrittenThrough(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	precious := filepath.Join(h.home, "precious")
	for what, put := range instead {
		h.filled("uv", time.Minute)
		lease := h.state("envs", h.ids("ready")[0], "lease")
		check(t, errors.Join(os.WriteFile(precious, []byte("precious"), 0o600), os.RemoveAll(lease),
			put(lease, precious)))
		got := h.acquire(rpc.AcquireParams{})
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID})
		if data, err := os.ReadFile(precious); string(data) != "precious" {
			t.Errorf("%s: the other file has %.40q, %v", what, data, err)
		}
	}
}

// purge runs the daemon's own part of `runt service uninstall --purge`.
func (h *house) purge(args ...string) (said rpc.Purged) {
	h.t.Helper()
	cmd := exec.Command(daemonProgram, append([]string{"purge"}, args...)...)
	cmd.Env, cmd.Dir = h.env, h.home
	out, _ := cmd.Output() // what it says has the error
	if err := json.Unmarshal(out, &said); err != nil {
		h.t.Fatalf("%q: %v", out, err)
	}
	return said
}

func TestAPurgeRemovesNothingThatADaemonOrAnybodyUses(t *testing.T) {
	t.Parallel()
	h := patient(t)
	d := h.start()
	h.filled("uv", time.Minute)
	if said := h.purge(); !said.Held || len(h.folders()) == 0 {
		t.Errorf("beside a daemon: %+v, %v", said, h.folders())
	}
	owner := exec.Command("sleep", "300")
	check(t, owner.Start())
	end := func() { _ = errors.Join(owner.Process.Kill(), owner.Wait()) }
	defer end()
	id := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.Process.Pid), WaitMS: new(int64(60000))}).Env.ID
	d.kill()
	for _, args := range [][]string{{"--check"}, {"--dry-run"}, {}} {
		said := h.purge(args...)
		if !said.InUse || !isThere(h.state("envs", id, "runtimed.json")) {
			t.Errorf("%q while it is leased: %+v", args, said)
		}
	}
	end()

	// As a purge leaves it that was killed: in the trash, without its manifest.
	check(t, errors.Join(os.Remove(h.state("envs", id, "runtimed.json")),
		os.Rename(h.state("envs", id), h.state("envs", ".trash", id))))
	if said := h.purge(); said.Error != "" || len(said.Stays) > 0 || isThere(h.state()) {
		left, _ := filepath.Glob(h.state("*", "*"))
		t.Errorf("%+v; left are %v", said, left)
	}
	if said := h.purge(); said.Error != "" || len(said.Places) > 0 || isThere(h.state()) {
		t.Errorf("where nothing is: %+v", said)
	}
}

func TestADaemonThatStartsDuringAPurgeFindsAWholeStateDirectory(t *testing.T) {
	t.Parallel()
	h := patient(t)
	d := h.start()
	h.filled("uv", time.Minute)
	d.kill()
	done := make(chan rpc.Purged)
	go func() { done <- h.purge() }()
	for range 3 {
		_ = h.launch() // one of them may lose against the purge
		time.Sleep(20 * time.Millisecond)
	}
	<-done
	h.eventually(30*time.Second, "a daemon answers", func() bool {
		if _, err := ask[rpc.None](h, rpc.MethodPing, nil); err == nil {
			return true
		}
		_ = h.launch()
		time.Sleep(time.Second)
		return false
	})
	h.filled("uv", time.Minute)
}
