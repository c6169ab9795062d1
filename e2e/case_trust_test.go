//go:build e2e && unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNobodyIsServedByADaemonOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can start a daemon as another user")
	}
	theirs, ours := newHouse(t), newHouse(t)
	theirs.configure(off)
	theirs.program = filepath.Join(theirs.home, "runtimed") // no other user can use this one where it is
	theirs.socket = filepath.Join(theirs.home, "x", "s")
	for _, argv := range [][]string{
		{"cp", daemonProgram, theirs.program},
		{"mkdir", "-m", "700", filepath.Dir(theirs.socket)},
		{"chmod", "755", filepath.Dir(theirs.home)},
		{"chown", "-R", "65534:65534", theirs.home},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	theirs.setenv("RUNTIMED_SOCKET", theirs.socket)
	cmd := theirs.command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	theirs.begin(cmd)
	theirs.eventually(20*time.Second, "the other user's daemon listens", func() bool {
		info, err := os.Lstat(theirs.socket)
		return err == nil && info.Mode().Type() == os.ModeSocket
	})

	ours.setenv("RUNTIMED_SOCKET", theirs.socket)
	for _, line := range []string{"run -- true", "pool acquire", "pool status", "daemon start", "daemon stop", "rpc daemon.ping"} {
		out, said, code := ours.runtEnds("", strings.Fields(line)...)
		for _, want := range []string{theirs.socket, "belongs to another user (uid 65534)", "RUNTIMED_SOCKET"} {
			if !strings.Contains(said, want) || code != exitUseless || out != "" {
				t.Errorf("runt %s: exit code %d, %q, no %q in %q", line, code, out, want, said)
			}
		}
	}
	found, _ := ours.doctor()
	if f := found["socket"]; f.Status != "problem" || !strings.Contains(f.Message, "another user (uid 65534)") || f.Hint == "" {
		t.Errorf("the doctor says %+v", f)
	}
	if made, err := os.ReadDir(filepath.Join(ours.home, ".cache")); err == nil {
		t.Errorf("ours has made %v", made)
	}
}
