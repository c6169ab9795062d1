package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

func seenAs(o Owner) Sight { s, _ := o.Look(); return s }

func TestAnOwnerIsAProcessAndNotAPid(t *testing.T) {
	cmd := testkit.Sleeper(t, testkit.Self(t))
	owner, err := Named(cmd.Process.Pid)
	if err != nil || seenAs(owner) != Living || owner.BootID == "" {
		t.Fatalf("%+v, %v", owner, err)
	}
	ended := make(chan bool, 1)
	stop := onExit(cmd.Process.Pid, func() { ended <- true })
	_ = cmd.Process.Kill()
	testkit.Soon(t, "it counts as dead while we hold a handle to it", func() bool { return seenAs(owner) == Gone })
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
	if self, err := OwnerOf(os.Getpid()); err != nil || seenAs(self) != Living {
		t.Error("this process is not alive")
	}
}

func TestAProcessUsesAnEnvironmentByItsExecutable(t *testing.T) {
	envs := t.TempDir()
	program := filepath.Join(envs, "uv-exe", "Scripts", "python.exe")
	testkit.Check(t, os.MkdirAll(filepath.Dir(program), 0o700))
	data, err := os.ReadFile(testkit.Self(t))
	if err == nil {
		err = os.WriteFile(program, data, 0o700)
	}
	testkit.Check(t, err)
	cmd := testkit.Sleeper(t, program)
	for _, dir := range []string{envs, strings.ToUpper(envs)} {
		testkit.Soon(t, "it is seen", func() bool {
			found, err := users(dir, nil)
			p := found["uv-exe"]
			return err == nil && p.PID == cmd.Process.Pid && lookAt(p) == Living
		})
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestTheIDOfAPathIsFoundInAnyCase(t *testing.T) {
	for path, want := range map[string]string{
		`C:\State\envs\uv-1\python.exe`: "uv-1",
		`c:\state\ENVS\UV-1\python.exe`: "uv-1",
		`\\?\C:\state\envs\uv-1\x.pyd`:  "uv-1",
		`C:\state\envs\uv-1`:            "",
		`C:\state\envs2\uv-1\x`:         "",
		`C:\windows\x.dll`:              "",
	} {
		if id, ok := idBelow(`C:\state\envs\`, path); ok != (want != "") || ok && id != want {
			t.Errorf("%s: %q, %t", path, id, ok)
		}
	}
	if id, _ := idBelow(`\\server\share\envs\`, `\\?\UNC\server\share\envs\uv-1\x.pyd`); id != "uv-1" {
		t.Errorf("on a share: %q", id)
	}
}
