package pool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const sleeperEnv = "RUNT_TEST_SLEEPER"

// init makes a sleeping child of this program where a test wants one. With a file named it has a child of its own, whose number it
// writes there.
func init() {
	file, sleeper := os.LookupEnv(sleeperEnv)
	if !sleeper {
		return
	}
	if file != "" {
		self, _ := os.Executable()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), sleeperEnv+"=")
		if cmd.Start() == nil {
			_ = os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
		}
	}
	time.Sleep(time.Minute)
	os.Exit(0)
}

// sleeper starts a process that the test ends.
func sleeper(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), sleeperEnv+"=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func seenAs(o Owner) sight { s, _ := o.look(); return s }

func TestAnOwnerIsAProcessAndNotAPid(t *testing.T) {
	cmd := sleeper(t, self(t))
	owner, err := Named(cmd.Process.Pid)
	if err != nil || seenAs(owner) != living || owner.BootID == "" {
		t.Fatalf("%+v, %v", owner, err)
	}
	ended := make(chan bool, 1)
	stop := onExit(cmd.Process.Pid, func() { ended <- true })
	_ = cmd.Process.Kill()
	soon(t, "it counts as dead while we hold a handle to it", func() bool { return seenAs(owner) == gone })
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("nobody told")
	}
	stop()
	for _, pid := range []int{cmd.Process.Pid, 0, -1, 1 << 30} {
		if _, err := OwnerOf(pid); err == nil {
			t.Errorf("%d can own", pid)
		}
	}
	if self, err := OwnerOf(os.Getpid()); err != nil || seenAs(self) != living {
		t.Error("this process is not alive")
	}
}

func TestAProcessUsesAnEnvironmentByItsExecutable(t *testing.T) {
	envs := t.TempDir()
	program := filepath.Join(envs, "uv-exe", "Scripts", "python.exe")
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self(t))
	if err == nil {
		err = os.WriteFile(program, data, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := sleeper(t, program)
	for _, dir := range []string{envs, strings.ToUpper(envs)} {
		soon(t, "it is seen", func() bool {
			found, err := users(dir, nil)
			p := found["uv-exe"]
			return err == nil && p.pid == cmd.Process.Pid && lookAt(p) == living
		})
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestWhatAChildStartedEndsWithIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := run(ctx, child{argv: []string{self(t)}, dir: t.TempDir(), env: append(os.Environ(), sleeperEnv+"="+file)})
		ended <- err
	}()
	var pid int
	soon(t, "it has a child", func() bool {
		data, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(data))
		_, alive := startTime(pid)
		return alive
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	soon(t, "the child's child is ended", func() bool { _, alive := startTime(pid); return !alive })
}

func TestAnAnswerComesBackFromAChild(t *testing.T) {
	script := []string{"cmd", "/c", "echo answer& echo complaint>&2& exit 3"}
	done, err := run(t.Context(), child{argv: script, dir: t.TempDir(), env: childEnv(os.Environ())})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Error(err)
	}
	if strings.TrimSpace(string(done.stdout)) != "answer" || !strings.Contains(done.output, "complaint") {
		t.Errorf("%v: %q, %q", err, done.stdout, done.output)
	}
}

func TestAFileIsReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var seen []fileID
	for _, text := range []string{"one", "two"} {
		if err := WriteWhole(path, []byte(text), dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		id, iderr := statID(path)
		if err != nil || iderr != nil || string(data) != text {
			t.Errorf("%q, %v, %v", data, err, iderr)
		}
		seen = append(seen, id)
	}
	if seen[0].inode == seen[1].inode {
		t.Error("the two files are the same")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%v is left", entries)
	}
}

func TestTheDiskIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	if free, err := freeSpace(dir); err != nil || free <= 0 {
		t.Errorf("%d, %v", free, err)
	}
	if !sameDevice(dir, filepath.Dir(dir)) || sameDevice(dir, filepath.Join(dir, "none")) {
		t.Error("where files can be linked is not known")
	}
	if !writable(dir) || writable(filepath.Join(dir, "none")) {
		t.Error("what can be written is not known")
	}
}

func TestNamesOfVariablesHaveNoCase(t *testing.T) {
	environ := childEnv([]string{`SystemRoot=C:\Windows`, `Path=C:\bin`, `ProgramFiles(x86)=C:\P`, "Conda_Prefix=x", "PythonHome=y"})
	if got := strings.Join(environ, ";"); got != `SystemRoot=C:\Windows;Path=C:\bin;ProgramFiles(x86)=C:\P` {
		t.Error(got)
	}
	if got := lookup(environ, "PATH"); got != `C:\bin` {
		t.Error(got)
	}
}

func TestTheIDOfAPathIsFoundInAnyCase(t *testing.T) {
	for path, want := range map[string]string{
		`C:\State\envs\uv-1\python.exe`: "uv-1",
		`c:\state\ENVS\UV-1\python.exe`: "uv-1",
		`C:\state\envs\uv-1`:            "",
		`C:\state\envs2\uv-1\x`:         "",
		`C:\windows\x.dll`:              "",
	} {
		if id, ok := idBelow(`C:\state\envs\`, path); ok != (want != "") || ok && id != want {
			t.Errorf("%s: %q, %t", path, id, ok)
		}
	}
}
