//go:build e2e && unix

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const nobody = 65534

func TestRootMakesNothingInAUsersHome(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can try")
	}
	own := filepath.Join(t.TempDir(), "own") // root's
	for name, c := range map[string]struct {
		setup func(h *house)
		says  string
	}{
		"HOME, as with sudo -E": {func(*house) {}, "HOME is HERE, which belongs to uid 65534, and this is uid 0"},
		"all places but HOME are root's": {func(h *house) {
			h.setenv("RUNTIMED_SOCKET", filepath.Join(own, "s"))
			h.flags = []string{"--cache-dir", own}
		}, "HOME is HERE, which belongs to uid 65534, and this is uid 0"},
		"XDG_CACHE_HOME": {func(h *house) {
			h.setenv("XDG_CACHE_HOME", filepath.Join(h.home, "cache"))
			h.setenv("HOME", "/")
		}, "the folder HERE belongs to uid 65534, and this is uid 0"},
		"a state directory": {func(h *house) {
			h.setenv("HOME", "/")
			h.setenv("RUNTIMED_SOCKET", filepath.Join(own, "s"))
			h.setenv("RUNTIMED_CACHE_DIR", filepath.Join(h.home, "theirs"))
		}, "the folder HERE/theirs belongs to uid 65534, and this is uid 0"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			theirs := filepath.Join(h.home, "theirs") // however closed it is
			if err := errors.Join(os.Mkdir(theirs, 0o700), os.Chown(theirs, nobody, nobody), os.Chown(h.home, nobody, nobody)); err != nil {
				t.Fatal(err)
			}
			c.setup(h)
			l := h.launch()
			if code := l.exit(20 * time.Second); code != exitUseless {
				t.Errorf("exit code %d", code)
			}
			says := strings.ReplaceAll(c.says, "HERE", h.home)
			if said := l.stderr.String(); !strings.Contains(said, says) || !strings.Contains(said, "hint: run it as that user, without sudo") {
				t.Errorf("it says %s", said)
			}
			if left, err := os.ReadDir(h.home); err != nil || len(left) != 1 {
				t.Errorf("in the home are %v, %v", left, err)
			}
			if left, err := os.ReadDir(theirs); err != nil || len(left) != 0 {
				t.Errorf("in the state directory are %v, %v", left, err)
			}
			if _, code := h.doctor("--fix"); code != exitUseless {
				t.Errorf("doctor exits with %d", code)
			}
			if left, _ := os.ReadDir(h.home); len(left) != 1 {
				t.Errorf("after doctor --fix, in the home are %v", left)
			}
		})
	}
}

func TestAFolderOfRootsThatNobodyElseMayWriteToIsOnesOwn(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can try as another user")
	}
	for name, c := range map[string]struct {
		owner, group int
		mode         os.FileMode
		starts       bool
	}{
		"root's, and group 0 may write": {0, 0, 0o770, true},
		"and others may read":           {0, 0, 0o775, true},
		"another group may write":       {0, 1234, 0o770, false},
		"all may write":                 {0, 0, 0o777, false},
		"another user's":                {nobody, 0, 0o770, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			h.program = filepath.Join(filepath.Dir(h.home), "runtimed")
			err := errors.Join(os.MkdirAll(h.state(), 0o700), os.Chown(h.state(), c.owner, c.group), os.Chmod(h.state(), c.mode),
				os.Chmod(h.state(".."), 0o755), os.Chmod(filepath.Dir(h.home), 0o755), exec.Command("cp", daemonProgram, h.program).Run(),
				os.Chmod(h.program, 0o755))
			if err != nil {
				t.Fatal(err)
			}
			cmd := h.command()
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 0, Groups: []uint32{1234}}}
			l := h.begin(cmd)
			if !c.starts {
				if code := l.exit(20 * time.Second); code != exitUseless {
					t.Errorf("exit code %d: %s", code, l.stderr)
				}
				return
			}
			h.eventually(20*time.Second, "it listens", func() bool { _, err := os.Stat(h.socket); return err == nil })
		})
	}
}
