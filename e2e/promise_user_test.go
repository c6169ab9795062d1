//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/redact"
	"runtimed/rpc"
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
			check(t, errors.Join(os.Mkdir(theirs, 0o700), os.Chown(theirs, nobody, nobody),
				os.Chown(h.home, nobody, nobody)))
			c.setup(h)
			l := h.launch()
			if code := l.exit(20 * time.Second); code != exitUseless {
				t.Errorf("exit code %d", code)
			}
			says := strings.ReplaceAll(c.says, "HERE", h.home)
			if said := l.stderr.String(); !strings.Contains(said, says) ||
				!strings.Contains(said, "hint: run it as that user, without sudo") {
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
			err := errors.Join(os.MkdirAll(h.state(), 0o700), os.Chown(h.state(), c.owner, c.group),
				os.Chmod(h.state(), c.mode),
				os.Chmod(h.state(".."), 0o755), os.Chmod(filepath.Dir(h.home), 0o755),
				exec.Command("cp", daemonProgram, h.program).Run(),
				os.Chmod(h.program, 0o755))
			check(t, err)
			cmd := h.command()
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 0,
				Groups: []uint32{1234}}}
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
	for _, line := range []string{"run -- true", "pool acquire", "pool status", "daemon start", "daemon stop",
		"rpc daemon.ping"} {
		out, said, code := ours.runtEnds("", strings.Fields(line)...)
		for _, want := range []string{theirs.socket, "belongs to another user (uid 65534)", "RUNTIMED_SOCKET"} {
			if !strings.Contains(said, want) || code != exitUseless || out != "" {
				t.Errorf("runt %s: exit code %d, %q, no %q in %q", line, code, out, want, said)
			}
		}
	}
	found, _ := ours.doctor()
	if f := found["socket"]; f.Status != "problem" || !strings.Contains(f.Message, "another user (uid 65534)") ||
		f.Hint == "" {
		t.Errorf("the doctor says %+v", f)
	}
	if made, err := os.ReadDir(filepath.Join(ours.home, ".cache")); err == nil {
		t.Errorf("ours has made %v", made)
	}
}

func TestNoSecretOfAToolReachesLogStatusOrErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at("'pip compile'", `cat >&2 <<'END'
GET /simple/ Authorization: Bearer geheim-1
UV_INDEX_X_PASSWORD=geheim-2
proxy user:geheim-3@proxy:3128
error: Failed to fetch: https://user:geheim/4@host/simple/
from https://host/x.whl?access=geheim-5
said the server: your proxy's geheim-6 and the index's geheim-7 are known
END
exit 2`))
	h.setenv("HTTPS_PROXY", "http://me:geheim-6@proxy.test:3128")
	h.configure("[uv]\nindex_url = \"https://me:geheim-7@index.test/simple\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.eventually(time.Minute, "the pool says that it fails", func() bool { return h.pool("uv").Error != nil })
	status, err := json.Marshal(h.pool("uv"))
	check(t, err)
	stdout, stderr, _ := h.runtEnds("", "pool", "status")
	var refused string
	h.eventually(time.Minute, "an acquire is told why", func() bool { // not while it tries again
		refused = h.refused(rpc.AcquireParams{WaitMS: new(int64(0))})
		return strings.Contains(refused, rpc.KindBuildFailed)
	})
	log, err := os.ReadFile(h.state("runtimed.log"))
	check(t, err)
	for what, text := range map[string]string{"status": string(status), "runt": stdout + stderr, "error": refused,
		"log": string(log)} {
		if strings.Contains(text, "geheim") || !strings.Contains(text, redact.Mask) && what != "runt" {
			t.Errorf("%s: %s", what, text)
		}
	}
	if !strings.Contains(string(log), "said the server") {
		t.Errorf("the log lacks what the tool said: %s", log)
	}
}

// refused is the error of an acquire, as it travels.
func (h *house) refused(p rpc.AcquireParams) string {
	h.t.Helper()
	c := h.dial()
	defer c.Close()
	err := c.Call(h.t.Context(), rpc.MethodAcquire, p, nil)
	var e *rpc.Error
	if !errors.As(err, &e) {
		h.t.Fatalf("the acquire ended with %v", err)
	}
	text, err := json.Marshal(e)
	check(h.t, err)
	return string(text)
}

func TestALabelThatTurnsTheLineIsShownAsWhatItIs(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 1)
	h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid()), Label: new("a\u202egpj.exe\u2066\u200b👩\u200d👧"),
		WaitMS: new(int64(10000))})
	got := h.runt("env", "list", "--state", "leased")
	if !strings.Contains(got, `a\u202egpj.exe\u2066\u200b`+"👩\u200d👧)") {
		t.Errorf("%q", got)
	}
}
