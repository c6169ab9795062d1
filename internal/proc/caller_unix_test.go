//go:build unix

package proc

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
)

// A real shell, its subshell and a pipe: the owner is the shell, which is still there afterwards.
func TestTheCallerOfASubshellIsTheShell(t *testing.T) {
	if os.Getenv("PRINT_CALLER") != "" {
		pid := CallingShell()
		os.Stdout.WriteString(strconv.Itoa(pid) + "\n")
		os.Exit(0)
	}
	self, err := os.Executable()
	testkit.Check(t, err)
	sh := exec.Command("sh", "-c", `x=$("$0" -test.run TestTheCallerOfASubshellIsTheShell | cat); echo "$x $$"`, self)
	sh.Env = append(os.Environ(), "PRINT_CALLER=1")
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := sh.Output()
	testkit.Check(t, err)
	if got := strings.Fields(string(out)); len(got) != 2 || got[0] != got[1] {
		t.Errorf("owner and shell are %s", out)
	}
}

// Windows asks for nobody's parent but our own: there are no groups to look for.
func TestTheParentOfAProcessIsFound(t *testing.T) {
	if got := parentOf(os.Getpid()); got != os.Getppid() {
		t.Errorf("of ourselves: got %d, want %d", got, os.Getppid())
	}
	child := exec.Command("sleep", "60")
	testkit.Check(t, child.Start())
	defer child.Wait()
	defer child.Process.Kill()
	if got := parentOf(child.Process.Pid); got != os.Getpid() {
		t.Errorf("of a child: got %d, want %d", got, os.Getpid())
	}
	if got := parentOf(1 << 30); got != 0 {
		t.Errorf("of nobody: got %d", got)
	}
}
