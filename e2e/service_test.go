//go:build e2e && linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// underSystemd runs the test again under a real, private `systemd --user`, and returns true in that run.
func underSystemd(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inSession) != "" {
		return true
	}
	if os.Getuid() != 0 {
		lacking(t, "a systemd of one's own takes root")
	}
	bin, cache := filepath.Dir(daemonProgram), testCache(t)
	// All such managers of a machine have the same control groups and the same journal, so one at a time.
	cmd := exec.Command("../testdata/tools/with-systemd-user", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inSession+"="+bin, "GORACE=atexit_sleep_ms=0", "UV_CACHE_DIR="+filepath.Join(cache, "uv-cache"),
		"PATH="+strings.Join([]string{bin, filepath.Join(cache, "uv", "bin"), os.Getenv("PATH")}, ":"),
		"RUNTIMED_UV_POOL_SIZE=0", "RUNTIMED_CONDA_POOL_SIZE=0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 { // with-systemd-user: this machine lets no manager run
		lacking(t, string(out))
	}
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("it did not pass there: %v\n%s", err, failedChecks(string(out)))
	}
	return false
}

var toldByTest = regexp.MustCompile(`^ *\w+_test\.go:\d+: (\$ )?`)

// failedChecks are what a test said apart from the commands that it ran, or its last words where that is nothing.
func failedChecks(out string) string {
	var checks []string
	isCheck := false
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if m := toldByTest.FindStringSubmatch(line); m != nil {
			isCheck = m[1] == ""
		} else if !strings.HasPrefix(line, "        ") { // else it goes on
			isCheck = false
		}
		if isCheck {
			checks = append(checks, strings.TrimPrefix(line, "    "))
		}
	}
	if len(checks) == 0 {
		checks = lines[max(0, len(lines)-10):]
	}
	return strings.Join(checks, "\n")
}

func TestFailedChecksAreToldApartFromCommands(t *testing.T) {
	const passed = "=== RUN   TestX\n    x_test.go:1: $ runt a\n        a.go:1: b\n"
	for out, want := range map[string]string{
		passed + "    x_test.go:22: c\n        d\n    x_test.go:3: $ runt e\n        f\n    x_test.go:4: g\n--- FAIL: TestX (1s)\n": "x_test.go:22: c\n    d\nx_test.go:4: g",
		passed + "panic: h": passed + "panic: h",
	} {
		if got := failedChecks(out); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
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
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func says(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("it does not say %q, but %q", want, text[max(0, len(text)-300):])
	}
}

// runtSays runs it until it says all of that. It is for what takes its time on a busy machine, as a line takes to the journal.
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
	out, _ := exec.Command("systemctl", append([]string{"--user"}, args...)...).CombinedOutput() // its exit code is of another question
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
	if err != nil {
		t.Fatal(err)
	}
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
	if err := errors.Join(err1, err2, k.cmd.Start()); err != nil {
		t.Fatal(err)
	}
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
