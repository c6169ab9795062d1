//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestTheDoctorTellsOfTheFileSystem(t *testing.T) {
	t.Parallel()
	remount := func(t *testing.T, dir, options string) {
		if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
			lacking(t, fmt.Sprintf("%v: %s", err, out))
		}
	}
	for name, c := range map[string]struct {
		options, remount string
		want             []sick
	}{
		"read-only": {"size=8m", "ro", []sick{
			{"state-directory", rpc.CheckProblem, []string{"cannot be made", "/.cache cannot be written"}},
			{"file-system", rpc.CheckProblem, []string{"read-only"}},
			{"links", rpc.CheckWarning, []string{"it cannot be written"}}, // uv's cache is there too
		}},
		"noexec": {"size=8m,noexec", "", []sick{{"noexec", rpc.CheckProblem, []string{"mounted noexec", "cache_dir"}}}},
		"full": {"size=900k", "", []sick{{"disk-space", rpc.CheckProblem, []string{
			"KiB free under", "less than the 976.6 KiB that build.min_free asks for", "runt env gc",
		}}}},
		"no inodes": {"size=8m,nr_inodes=60", "", []sick{{"inodes", rpc.CheckProblem, []string{"more files under"}}}},
		"fine":      {"size=8m", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := patient(t)
			cache := filepath.Join(h.home, ".cache")
			h.tmpfs(t, cache, c.options)
			if c.remount != "" {
				remount(t, cache, c.remount)
			}
			found := h.finds(nil, c.want...)
			if name == "fine" && found["file-system"].Message != "tmpfs" {
				t.Errorf("file-system: %s", found["file-system"].Message)
			}
		})
	}
}

func TestTheDoctorNamesWhatIsMountedInTheTrash(t *testing.T) {
	t.Parallel()
	h := patient(t)
	at := h.state("envs", ".trash", "uv-01234567", "data")
	check(t, os.MkdirAll(at, 0o700))
	check(t, errors.Join(os.Chmod(h.state(), 0o700), os.Chmod(filepath.Dir(h.state()), 0o700)))
	if out, err := exec.Command("mount", "-t", "tmpfs", "tmpfs", at).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("%v: %s", err, out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", at).Run() })
	h.finds(nil, sick{"strays", rpc.CheckWarning, []string{at, "unmount it"}})
}

func TestAStateDirectoryOfAnotherUserIsNamed(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can give a folder to another user")
	}
	h := patient(t)
	check(t, os.MkdirAll(h.state(), 0o700))
	check(t, os.Chown(h.state(), 65534, 65534))
	h.finds(nil, sick{"state-directory", rpc.CheckProblem, []string{"belongs to uid 65534, and this is uid 0"}})

	if err := os.Chown(h.home, 65534, 65534); err != nil { // as with sudo
		t.Fatal(err)
	}
	h.finds(nil, sick{"state-directory", rpc.CheckProblem, nil},
		sick{"environment", rpc.CheckProblem, []string{"belongs to uid 65534, and this is uid 0", "without sudo"}})
}

// A tool that hangs, and does not want to end, costs no more than the doctor's time, and does not outlive it by much:
// whoever reads sees the end of the output before that.
func TestTheDoctorIsBounded(t *testing.T) {
	t.Parallel()
	h := patient(t)
	write(h, filepath.Join(h.home, "standin/uv"), "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.37; done\n")
	cmd := exec.Command(daemonProgram, "doctor")
	cmd.Env, cmd.Dir = h.env, h.home
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	check(t, err)
	began := time.Now()
	told, err := io.ReadAll(out)
	if took := time.Since(began); err != nil || took > time.Minute || !h.runs("standin/uv") {
		t.Errorf("it told after %s, %v", took, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, told)
	}
	if h.runs("standin/uv") {
		t.Error("the tool outlives it")
	}
	h.diagnosed(h.told(told, 0), sick{"uv", rpc.CheckWarning, []string{"did not tell its version within 3s"}},
		sick{"python", rpc.CheckSkipped, []string{"not tested: without uv"}}, sick{"index", rpc.CheckSkipped,
			[]string{"not tested: without uv"}})
}

// runs says whether a process of this house has that word on its command line.
func (h *house) runs(word string) bool {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, _ := os.ReadFile(path)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if strings.Contains(string(line), word) && strings.Contains(string(env), "HOME="+h.home+"\x00") {
			return true
		}
	}
	return false
}

// Doctors all the time keep no daemon from starting.
func TestADaemonStartsBesideDoctors(t *testing.T) {
	t.Parallel()
	h := patient(t)
	h.configure(off)
	check(t, os.MkdirAll(h.state("envs"), 0o700))
	stop, done := make(chan struct{}), make(chan struct{}, 2)
	for _, args := range [][]string{nil, {"--fix"}} {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					h.doctor(args...)
				}
			}
		}()
	}
	for range rounds(10, 100) {
		d := h.start()
		d.kill() // so that there is something to repair
		if d.stderr.Len() > 0 {
			t.Error(d.stderr)
		}
	}
	close(stop)
	<-done
	<-done
}

func TestTheDoctorDoesNotWakeWhoeverIsListenedFor(t *testing.T) {
	t.Parallel()
	h := patient(t)
	check(t, os.MkdirAll(h.state(), 0o700))
	noisy(h)
	found := h.finds([]string{"--listening"})
	if !strings.Contains(found["socket"].Message, "a service manager listens on") {
		t.Errorf("socket: %s", found["socket"].Message)
	}
}

func TestTheDoctorTellsAMuteDaemonByItsPid(t *testing.T) {
	t.Parallel()
	h := patient(t)
	h.configure(off)
	d := h.start()
	d.signal(syscall.SIGSTOP)
	defer d.signal(syscall.SIGCONT)
	found, _ := h.doctor("--fix")
	pid := fmt.Sprint(d.cmd.Process.Pid)
	h.diagnosed(found, sick{"socket", rpc.CheckProblem, []string{"does not answer within"}},
		sick{"lock", rpc.CheckProblem, []string{"a daemon (pid " + pid + ") holds", "does not answer", "kill " + pid}})
	d.signal(syscall.SIGCONT)

	other := patient(t)
	other.configure(off)
	other.setenv("RUNTIMED_SOCKET", h.state("other"))
	other.finds(nil, sick{"lock", rpc.CheckProblem, []string{"listens on " + h.socket,
		"set RUNTIMED_SOCKET to that"}})
}

func TestTheDoctorSeesADaemonElsewhere(t *testing.T) {
	t.Parallel()
	h := patient(t)
	h.configure(off)
	d := h.start()
	away := filepath.Join(filepath.Dir(h.home), "away")
	check(t, os.Mkdir(away, 0o700))
	env := h.env
	h.setenv("RUNTIMED_SOCKET", filepath.Join(away, "s"))
	said := fmt.Sprintf("one (pid %d) answers on %s", d.cmd.Process.Pid, h.socket)
	h.finds(nil, sick{"environment", rpc.CheckWarning, []string{said, "unset RUNTIMED_SOCKET"}})

	h.env = env
	h.setenv("RUNTIMED_CONFIG", h.state("daemon.json")) // of another shell; and no configuration
	said = "the daemon reads " + h.home + "/.config/runt/config.toml, and this shell " + h.state("daemon.json")
	h.finds(nil, sick{"environment", rpc.CheckWarning, []string{said}},
		sick{"config", rpc.CheckProblem, []string{"daemon.json:1"}})
}

func TestAClockThatIsBehindIsTold(t *testing.T) {
	t.Parallel()
	h := patient(t)
	d := h.start()
	h.filled("uv", time.Minute)
	d.signal(syscall.SIGTERM)
	d.exit(10 * time.Second)
	id := h.folders()[0]
	path := h.state("envs", id, "runtimed.json")
	data, err := os.ReadFile(path)
	check(t, err)
	var m map[string]any
	check(t, json.Unmarshal(data, &m))
	m["created_at"] = time.Now().Add(48 * time.Hour)
	data, _ = json.Marshal(m)
	write(h, path, string(data))
	h.finds(nil, sick{"clock", rpc.CheckWarning, []string{"the environment " + id + " was made"}})
}

func TestTheDoctorMeetsADaemonThatIsListenedForAndRuns(t *testing.T) {
	t.Parallel()
	h := patient(t)
	h.configure(off)
	d := h.start()
	found, _ := h.doctor("--listening") // its service manager had not seen yet that it runs
	h.diagnosed(found)
	if want := fmt.Sprintf("held by the daemon (pid %d), which has just started",
		d.cmd.Process.Pid); found["lock"].Message != want {
		t.Errorf("lock: %s", found["lock"].Message)
	}
}
