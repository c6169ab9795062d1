package proc

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
)

const lookHidden = "RUNT_TEST_LOOK_HIDDEN"

// TestWhoIsHiddenBesideAnOwnerIsNoticedUnlessHeWasThereBefore runs itself as another user, where /proc hides root's
// processes: the script that it is of, and another command of that script.
func TestWhoIsHiddenBesideAnOwnerIsNoticedUnlessHeWasThereBefore(t *testing.T) {
	if os.Getenv(lookHidden) != "" {
		err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(65534), syscall.Setuid(65534)) // the group 0 sees all
		testkit.Check(t, err)
		self := Owner{PID: os.Getpid(), Group: syscall.Getpgrp()}
		script := Owner{PID: self.Group, Group: self.Group}
		if !Hides() || hiddenBeside(self) || !hiddenBeside(script) || hiddenBeside(Owner{}) {
			t.Errorf("hides: %v, beside what came last: %v, beside the script: %v", Hides(), hiddenBeside(self),
				hiddenBeside(script))
		}
		return
	}
	self, err := os.Executable()
	testkit.Check(t, err)
	apart := func(script string) ([]byte, error) {
		cmd := exec.Command("unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c",
			"mount -t proc -o hidepid=2 proc /proc && "+script, "sh",
			self, "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), lookHidden+"=1")
		return cmd.CombinedOutput()
	}
	if out, err := apart("true"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skip("no /proc can be mounted here: " + strings.TrimSpace(string(out)))
	}
	if out, err := apart(`setsid -w sh -c 'sleep 60 & "$@"' sh "$@"; exit $?`); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
