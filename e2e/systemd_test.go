//go:build e2e && unix

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// noManager is the exit code of with-systemd-user where this machine lets no manager run.
const noManager = 77

// TestSystemdMakesTheSocketAgainThatSomebodyDeleted runs under a real manager. The daemon asks it, since only it can.
func TestSystemdMakesTheSocketAgainThatSomebodyDeleted(t *testing.T) {
	tool, err := filepath.Abs("../testdata/tools/with-systemd-user")
	check(t, err)
	if os.Getuid() != 0 {
		lacking(t, "a systemd of one's own takes root")
	}
	t.Parallel() // there is one manager of the machine at a time, so it mostly waits for the other
	h := newHouse(t)
	h.configure(off)
	units := filepath.Join(h.home, ".config/systemd/user")
	check(t, os.MkdirAll(units, 0o755))
	write(h, filepath.Join(units, "runtimed.socket"), fmt.Sprintf(
		"[Socket]\nListenStream=%s\nSocketMode=0600\nDirectoryMode=0700\nRemoveOnStop=yes\n", h.socket))
	write(h, filepath.Join(units, "runtimed.service"), fmt.Sprintf(
		"[Unit]\nRequires=runtimed.socket\nAfter=runtimed.socket\n"+
			"[Service]\nType=notify\nRestart=on-failure\nRestartPreventExitStatus=1\nWatchdogSec=5\n"+
			"ExecStart=%s run --conda-pool-size 0\n", daemonProgram))

	manager := exec.Command(tool, "sh", "-c",
		"systemctl --user start runtimed.socket && echo ready && cat; "+
			"journalctl --user-unit runtimed --no-pager -n 200")
	manager.Env = append(os.Environ(), "SD_HOME="+h.home)
	release, err := manager.StdinPipe() // cat ends with it, and the manager with cat
	check(t, err)
	pipe, err := manager.StdoutPipe()
	check(t, err)
	var said strings.Builder
	manager.Stderr = &said
	check(t, manager.Start())
	out := bufio.NewReader(pipe)
	end := sync.OnceValue(func() error {
		_ = release.Close()
		journal, _ := io.ReadAll(out)
		err := manager.Wait()
		said.Write(journal)
		return err
	})
	t.Cleanup(func() {
		if err := end(); err != nil && !t.Skipped() {
			t.Errorf("the manager: %v", err)
		}
		if t.Failed() {
			t.Logf("the manager and its journal: %s", said.String())
		}
	})
	ready, _ := out.ReadString('\n') // once no other test has a manager: there is one at a time
	if ready != "ready\n" {
		err := end()
		if manager.ProcessState.ExitCode() == noManager {
			lacking(t, said.String())
		}
		t.Fatalf("the manager said %q: %v", ready, err)
	}

	first := must[rpc.Info](h, rpc.MethodInfo, nil) // the first connection brings the daemon
	if first.StartedBy != rpc.StartedByService {
		t.Errorf("it was started by %s", first.StartedBy)
	}
	time.Sleep(7 * time.Second) // longer than the watchdog's patience
	if now := must[rpc.Info](h, rpc.MethodInfo, nil); now.PID != first.PID {
		t.Error("the watchdog has ended it")
	}
	open := h.dial()
	for _, path := range []string{h.socket, h.state()} {
		check(t, os.RemoveAll(path))
		var now rpc.Info
		h.eventually(15*time.Second, path+" is deleted, and a daemon answers again", func() bool {
			now, err = ask[rpc.Info](h, rpc.MethodInfo, nil)
			return err == nil
		})
		if now.PID == first.PID {
			t.Error("it is the same daemon, so it has bound the socket itself")
		}
		if info, err := os.Lstat(h.socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the new socket: %v, %v", info, err)
		}
		first = now
	}
	_ = open.Close()
}

// underSystemd runs the test again under a real, private `systemd --user`, and returns true in that run.
func underSystemd(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inSession) != "" {
		return true
	}
	if os.Getuid() != 0 {
		lacking(t, "a systemd of one's own takes root")
	}
	bin, cache := filepath.Dir(daemonProgram), testkit.KeptTools(t)
	// All such managers of a machine have the same control groups and the same journal, so one at a time.
	cmd := exec.Command("../testdata/tools/with-systemd-user", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v",
		"-test.count=1")
	cmd.Env = append(os.Environ(), inSession+"="+bin, "GORACE=atexit_sleep_ms=0",
		"UV_CACHE_DIR="+filepath.Join(cache, "uv-cache"),
		"PATH="+strings.Join([]string{bin, filepath.Join(cache, "uv", "bin"), os.Getenv("PATH")}, ":"),
		"RUNTIMED_UV_POOL_SIZE=0", "RUNTIMED_CONDA_POOL_SIZE=0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 { // with-systemd-user: this machine lets no manager run
		lacking(t, string(out))
	}
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("it did not pass there: %v", err)
	}
	return false
}

// runt runs the real one and returns what it said.
func runt(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command("runt", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	t.Logf("$ runt %s\n%s%s", strings.Join(args, " "), &out, &errs)
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("runt %s: %v, exit code %d and not %d", strings.Join(args, " "), err, got, code)
	}
	return out.String(), errs.String()
}

func runtJSON[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	out, _ := runt(t, 0, append(args, "--json")...)
	check(t, json.Unmarshal([]byte(out), &v))
	return v
}

func says(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("it does not say %q, but %q", want, text[max(0, len(text)-300):])
	}
}

// runtSays runs it until it says all of that. It is for what takes its time on a busy machine, as a line takes to the
// journal.
func runtSays(t *testing.T, code int, args []string, wants ...string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, errs := runt(t, code, args...)
		late := slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(out+errs, want) })
		if !late || time.Now().After(end) {
			for _, want := range wants {
				says(t, out+errs, want)
			}
			return out
		}
	}
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	// its exit code is of another question
	out, _ := exec.Command("systemctl", append([]string{"--user"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// filesAtHome are all files at home.
func filesAtHome(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir(os.Getenv("HOME"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone since it was listed
			return nil
		}
		if err == nil && !e.IsDir() {
			list = append(list, path)
		}
		return err
	})
	check(t, err)
	return list
}

// heldKernel is a kernel, and a front-end that runs cells in it.
type heldKernel struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *bufio.Writer
	out *bufio.Scanner
	pid int
}

func hold(t *testing.T, python string) *heldKernel {
	t.Helper()
	k := &heldKernel{t: t, cmd: exec.Command(python, "../testdata/tools/kernel_hold.py", python)}
	in, err1 := k.cmd.StdinPipe()
	out, err2 := k.cmd.StdoutPipe()
	k.cmd.Stderr = os.Stderr
	k.cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // what a kernel leaves at home is not ours
	check(t, errors.Join(err1, err2, k.cmd.Start()))
	k.in, k.out = bufio.NewWriter(in), bufio.NewScanner(out)
	if _, err := fmt.Sscan(k.line(), &k.pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.end)
	return k
}

func (k *heldKernel) line() string {
	k.out.Scan()
	return k.out.Text()
}

func (k *heldKernel) runs(cell string) {
	k.t.Helper()
	fmt.Fprintln(k.in, cell)
	k.in.Flush()
	if got := k.line(); got != "ok" {
		k.t.Fatalf("%s: %s", cell, got)
	}
}

func (k *heldKernel) end() {
	if k.cmd.ProcessState == nil {
		_ = syscall.Kill(k.pid, syscall.SIGKILL)
		_ = k.cmd.Process.Kill()
		_ = k.cmd.Wait()
	}
}
