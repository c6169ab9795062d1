//go:build e2e && linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// host is a machine with several users, a configuration that is the same for all, and a store of packages.
type host struct {
	t          *testing.T
	dir, store string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "only root can be several users")
	}
	dir, err := os.MkdirTemp("", "rth")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &host{t: t, dir: dir, store: filepath.Join(dir, "store")}
	check(t, errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755)))
	for _, program := range []string{runtProgram, daemonProgram} {
		to := filepath.Join(dir, "bin", filepath.Base(program))
		check(t, errors.Join(exec.Command("cp", program, to).Run(), os.Chmod(to, 0o755)))
	}
	h.configure("ipykernel")
	return h
}

func (h *host) configure(packages string) {
	h.t.Helper()
	text := fmt.Sprintf("[uv]\nstore = %q\n[build]\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\nstandby = 0\n"+
		"packages = [%q]\n[pools.conda]\nsize = 0\n", h.store, packages)
	check(h.t, os.WriteFile(filepath.Join(h.dir, "config.toml"), []byte(text), 0o644))
}

// user is a new user of the host, with nothing at home.
type user struct {
	*host
	uid    int
	home   string
	before []string // words before the command line
}

var nextUser = 64000

func (h *host) user(before ...string) *user {
	h.t.Helper()
	nextUser++
	u := &user{h, nextUser, filepath.Join(h.dir, fmt.Sprint("u", nextUser)), before}
	check(h.t, errors.Join(os.Mkdir(u.home, 0o700), os.Chown(u.home, u.uid, u.uid)))
	h.t.Cleanup(func() { _, _ = u.runt("daemon", "stop") })
	return u
}

// runt runs a command of the user's, who has no uv and no settings.
func (u *user) runt(args ...string) (string, int) {
	u.t.Helper()
	argv := slices.Concat(u.before, []string{"setpriv", "--reuid", fmt.Sprint(u.uid), "--regid", fmt.Sprint(u.uid),
		"--clear-groups", filepath.Join(u.dir, "bin", "runt")}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = u.home
	cmd.Env = append(testkit.NetEnviron(), "HOME="+u.home, "PATH=/usr/bin:/bin", "GORACE=atexit_sleep_ms=0",
		"RUNTIMED_CONFIG="+filepath.Join(u.dir, "config.toml"))
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		u.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// log is the daemon's log.
func (u *user) log() string {
	data, _ := os.ReadFile(filepath.Join(u.home, ".cache/runt/runtimed.log"))
	return string(data)
}

// fill fills the store as root, whose umask is in nobody's way.
func (h *host) fill(args ...string) string {
	h.t.Helper()
	home := filepath.Join(h.dir, "owner")
	check(h.t, os.MkdirAll(home, 0o700))
	uv, err := realUV()
	check(h.t, err)
	argv := []string{"-c", `umask 077; exec "$@"`, "sh", filepath.Join(h.dir, "bin", "runt"), "store", "fill"}
	cmd := exec.Command("/bin/sh", append(argv, args...)...)
	cmd.Env = append(testkit.NetEnviron(), "HOME="+home, "PATH="+uv+":/usr/bin:/bin", "GORACE=atexit_sleep_ms=0",
		"RUNTIMED_CONFIG="+filepath.Join(h.dir, "config.toml"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// noNetwork is for a user whose processes reach nobody, not even this machine.
func noNetwork(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		lacking(t, "no network namespace can be made here: "+string(out))
	}
	return []string{"unshare", "-n"}
}

const importIt = "import ipykernel, sys; print(sys.prefix)"

func TestTheSecondUsersFirstEnvironmentComesFromTheStoreWithoutANetwork(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	said := h.fill()
	if !strings.Contains(said, h.store+" has ") {
		t.Fatal(said)
	}
	before := tree(t, h.store)

	first := h.user(noNetwork(t)...)
	began := time.Now()
	out, code := first.runt("run", "--wait", "10m", "--", "python", "-c", importIt)
	if code != 0 || !strings.Contains(out, first.home) {
		t.Fatalf("%d: %s\n%s", code, out, first.log())
	}
	t.Logf("without a network, uv and a cache: %s", time.Since(began))
	for _, want := range []string{"the lock file of the store is taken over", "uv found"} {
		if !strings.Contains(first.log(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if out, _ := first.runt("doctor"); !strings.Contains(out, "store            "+h.store+" has ") {
		t.Errorf("doctor says %s", out)
	}
	if !slices.Equal(before, tree(t, h.store)) {
		t.Error("the user has changed the store")
	}
	h.fill() // again, which nobody notices
	if names := func(list []string) (all []string) {
		for _, line := range list {
			all = append(all, strings.Fields(line)[0])
		}
		return all
	}; !slices.Equal(names(before), names(tree(t, h.store))) {
		t.Errorf("after a second fill there are other files:\n%s", strings.Join(tree(t, h.store), "\n"))
	}

	// A file whose content is not what the lock file says is never installed, and costs nothing.
	wheels, err := filepath.Glob(filepath.Join(h.store, "ipykernel-*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatal(wheels, err)
	}
	data, err := os.ReadFile(wheels[0])
	check(t, err)
	check(t, os.WriteFile(wheels[0], append(data, "and more"...), 0o644))
	second := h.user()
	if out, code := second.runt("run", "--wait", "10m", "--", "python", "-c", importIt); code != 0 ||
		!strings.Contains(second.log(), "the store does not have all that is to be installed") {
		t.Errorf("%d: %s\n%s", code, out, second.log())
	}
}

func TestAStoreThatCannotBeUsedIsAWarningAndNoFailedBuild(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(store string) error
		want string
	}{
		"missing": {func(string) error { return nil }, "no such file or directory"},
		"a file":  {func(store string) error { return os.WriteFile(store, nil, 0o644) }, "is a file, not a folder"},
		"anybody's": {func(store string) error { return errors.Join(os.Mkdir(store, 0o755), os.Chmod(store, 0o777)) },
			"others than its owner may write to"},
		"with lock files of anybody's": {func(store string) error {
			locks := filepath.Join(store, "locks")
			return errors.Join(os.MkdirAll(locks, 0o755), os.Chmod(locks, 0o775))
		}, "others than its owner may write to"},
		"empty": {func(store string) error { return os.Mkdir(store, 0o755) }, "has no wheels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn(fastUV)
			store := filepath.Join(h.home, "a, store%")
			check(t, c.make(store))
			h.configure(fmt.Sprintf("[uv]\nstore = %q\n%s1\n", store, quickly))
			h.start()
			h.filled("uv", time.Minute)
			if said := h.logged("the store of packages is not used"); len(said) != 1 && name != "empty" {
				t.Errorf("the log says %q", said)
			}
			found, _ := h.doctor()
			if got := found["store"]; got.Status != rpc.CheckWarning || !strings.Contains(got.Message, c.want) ||
				!strings.Contains(got.Message, store) {
				t.Errorf("the doctor says %+v", got)
			}
		})
	}
}

// etc is a copy of /etc that a command sees in place of it, with an administrator's configuration in it.
type etc string

func newEtc(t *testing.T, text string) etc {
	t.Helper()
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		lacking(t, "no mount namespace can be made here: "+string(out))
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", "/etc/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check(t, errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(filepath.Join(dir, "runt"), 0o755)))
	e := etc(dir)
	e.write(t, text)
	return e
}

func (e etc) write(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(string(e), "runt", "config.toml")
	check(t, errors.Join(os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path)))
}

// script is a line of sh that runs "$@" there.
func (e etc) script() string {
	return fmt.Sprintf(`exec unshare -m sh -c 'mount --bind %s /etc && exec "$@"' sh "$@"`, e)
}

func TestTheAdministratorsFileIsBehindAUsersAndItsLimitsHold(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		lacking(t, "only root can give a command another /etc")
	}
	e := newEtc(t, "log_level = \"debug\"\n[limits]\nsize = 2\nmax_size = \"1GB\"\n[pools.uv]\nsize = 1\nstandby = 0\n"+
		"max_age = \"24h\"\n")
	h := newHouse(t).withStandIn(fastUV)
	h.script = e.script()
	h.env = slices.DeleteFunc(h.env, func(v string) bool { return strings.HasPrefix(v, "RUNTIMED_CONDA_POOL_SIZE=") })
	h.configure("[pools.uv]\nsize = 5\n[pools.conda]\nsize = 0\n")
	there := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-c", h.script, "sh", runtProgram}, args...)...)
		cmd.Env, cmd.Dir = h.env, h.home
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	const clamped = "pools.uv.size = 5 is more than limits.size allows at /etc/runt/config.toml:3, so it is 2"
	out, code := there("config", "show")
	for _, want := range []string{
		"# /etc/runt/config.toml\n", "# warning: ", clamped, `max_age = "24h"`, "# /etc/runt/config.toml:8\n",
		"config.toml:2; limited at /etc/runt/config.toml:3\n", `max_size = "1GB"`,
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d: %q is not in\n%s", code, want, out)
		}
	}
	if out, code := there("config", "check"); code != 0 || !strings.Contains(out, clamped) ||
		!strings.Contains(out, "\nok: /etc/runt/config.toml\n") {
		t.Errorf("%d: %s", code, out)
	}
	if out, _ := there("doctor"); !strings.Contains(out, "warning  config") || !strings.Contains(out, clamped) {
		t.Errorf("doctor says %s", out)
	}

	d := h.start()
	if p := h.pool("uv"); p.Target != 2 {
		t.Errorf("the pool keeps %d", p.Target)
	}
	if got := h.logged("configuration", clamped); len(got) != 1 {
		t.Errorf("the log says %q", got)
	}
	e.write(t, "[limits]\nsize = 4\n") // no user has to do anything
	h.eventually(10*time.Second, "the new limit is in force", func() bool { return h.pool("uv").Target == 4 })
	e.write(t, "[limits]\nsise = 1\n")
	if out, code := there("daemon", "reload"); code != failure.Usage || !strings.Contains(out,
		"/etc/runt/config.toml:2: limits.sise: unknown key; there are size, max_size") {
		t.Errorf("%d: %s", code, out)
	}
	if h.pool("uv").Target != 4 {
		t.Error("a mistake is in force")
	}
	d.signal(syscall.SIGTERM)
	d.exit(10 * time.Second)
	for _, args := range [][]string{{"daemon", "start"}, {"config", "check"}, {"config", "show"}} {
		out, code := there(args...)
		if code != failure.Failed || !strings.Contains(out, "/etc/runt/config.toml:2: limits.sise") {
			t.Errorf("%q: %d: %s", args, code, out)
		}
	}
	if isThere("/etc/runt/config.toml") {
		t.Error("it is this machine's own file")
	}
}
