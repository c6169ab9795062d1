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
