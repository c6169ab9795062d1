package testkit

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

const SleeperEnv = "RUNT_TEST_SLEEPER"

// init turns this program into a sleeping child if the variable is set. With a file name it starts a child of its
// own, and writes the pid there.
func init() {
	file, sleeper := os.LookupEnv(SleeperEnv)
	if !sleeper {
		return
	}
	if file != "" {
		self, _ := os.Executable()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), SleeperEnv+"=")
		if cmd.Start() == nil {
			_ = os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
		}
	}
	time.Sleep(time.Minute)
	os.Exit(0)
}

// Sleeper starts a process that the test ends.
func Sleeper(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), SleeperEnv+"=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func Self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
