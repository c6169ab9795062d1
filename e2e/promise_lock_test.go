//go:build e2e && unix

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// sitesOf has the hash of each file below site-packages, but those that hold paths, or that Python or uv wrote for
// this environment alone.
func sitesOf(t *testing.T, env string) map[string]string {
	t.Helper()
	sites, err := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
	check(t, err)
	if len(sites) != 1 {
		t.Fatalf("%s has %v", env, sites)
	}
	own := regexp.MustCompile(`(^|/)(__pycache__/.*|INSTALLER|direct_url\.json|uv_cache\.json|_virtualenv\.(py|pth))$`)
	scripts := regexp.MustCompile(`(?m)^\.\./.*\n|^.*__pycache__.*\n`)
	files := map[string]string{}
	check(t, filepath.WalkDir(sites[0], func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(sites[0], path); err == nil && !d.IsDir() && !own.MatchString(rel) {
			var data []byte
			if data, err = os.ReadFile(path); filepath.Base(path) == "RECORD" {
				data = scripts.ReplaceAll(data, nil) // they begin with the path of the environment's Python
			}
			sum := sha256.Sum256(data)
			files[rel] = hex.EncodeToString(sum[:])
		}
		return err
	}))
	return files
}

// envOf is the folder of the pool's first ready environment.
func (h *house) envOf(pool string) string {
	h.t.Helper()
	envs := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{Pool: &pool, State: new(rpc.EnvReady)}).Envs
	if len(envs) == 0 {
		h.t.Fatalf("nothing is ready in %s", pool)
	}
	return envs[0].Path
}

// printed is what runt pool lock prints.
func (h *house) printed() string {
	h.t.Helper()
	out, errs, code := h.runtEnds("", "pool", "lock")
	sum := sha256.Sum256([]byte(out))
	if hash := "sha256:" + hex.EncodeToString(sum[:]); code != 0 || errs != "" || h.pool("uv").Lock != hash {
		h.t.Fatalf("exit %d, %q, and the status has %s for\n%s", code, errs, h.pool("uv").Lock, out)
	}
	return out
}

func TestTwoMachinesWithTheSameLockHaveTheSamePackagesToTheByte(t *testing.T) {
	t.Parallel()
	first := newHouse(t).withUV()
	first.configure("[pools.uv]\nsize = 1\nstandby = 0\npackages = [\"ipykernel\", \"iniconfig<2\"]\n")
	first.start()
	first.filled("uv", 3*time.Minute)
	lock := first.printed()
	if !strings.HasPrefix(lock, "# runt pool lock, for Python 3.") ||
		!strings.Contains(lock, "\niniconfig==1.1.1 \\\n    --hash=sha256:") {
		t.Fatalf("the lock file:\n%s", lock)
	}

	second := newHouse(t).withUV()
	second.setenv("UV_CACHE_DIR", filepath.Join(second.home, "uv-cache")) // it has nothing from the first
	by := "--index-url https://user:secret@index.invalid/simple\r\n# by hand\r\n" +
		strings.ReplaceAll(lock, "\n", "\r\n")
	second.configure("[build]\nlock_age = \"1s\"\n[pools.uv]\nsize = 1\nstandby = 0\nlock = \"locks/team.txt\"\n")
	check(t, os.Mkdir(filepath.Join(second.home, ".config/runt/locks"), 0o755))
	second.write(".config/runt/locks/team.txt", by)
	second.start()
	second.filled("uv", 3*time.Minute)
	if again := second.printed(); again != lock {
		t.Errorf("the second machine's lock file:\n%s\nthe first one's:\n%s", again, lock)
	}
	a, b := sitesOf(t, first.envOf("uv")), sitesOf(t, second.envOf("uv"))
	if len(a) < 500 || !maps.Equal(a, b) {
		for _, f := range slices.Sorted(maps.Keys(a)) {
			if a[f] != b[f] {
				t.Errorf("%s differs", f)
			}
		}
		t.Errorf("%d and %d files", len(a), len(b))
	}

	// What comes on top changes none of its versions.
	got := second.acquire(rpc.AcquireParams{Packages: []string{"toolz"}, OwnerPID: new(os.Getpid())})
	has := func(name, version string) bool {
		return slices.ContainsFunc(got.Env.Packages, func(p rpc.Package) bool {
			return p.Name == name && (version == "" || p.Version == version)
		})
	}
	if got.Source != rpc.SourceExtended || !has("iniconfig", "1.1.1") || !has("toolz", "") {
		t.Errorf("%s, with %v", got.Source, got.Env.Packages)
	}
	_, err := ask[rpc.AcquireResult](second, rpc.MethodAcquire, rpc.AcquireParams{Packages: []string{"iniconfig>=2"}})
	if e := errorOf(err); e == nil || e.Data.Cause != builder.CauseUnsatisfiable {
		t.Errorf("another version than the locked one: %v", err)
	}

	// A changed file replaces the environments; a bad one changes nothing.
	second.filled("uv", 3*time.Minute)
	before := second.pool("uv").Lock
	second.write(".config/runt/locks/team.txt", lock+"evil==1\n")
	second.eventually(10*time.Second, "the bad file is refused", func() bool {
		return len(second.logged("the configuration is not taken over", "has no --hash")) > 0
	})
	if second.pool("uv").Lock != before {
		t.Error("a bad lock file was taken over")
	}
	second.write(".config/runt/locks/team.txt", lock+second.lockedBy(t, "toolz"))
	second.eventually(3*time.Minute, "the environments are replaced", func() bool {
		s := second.pool("uv")
		return s.Lock != "" && s.Lock != before && s.Available == 1
	})
	if !strings.Contains(second.printed(), "\ntoolz==") {
		t.Error("the new file does not count")
	}
}

// lockedBy is a requirement with its hashes, as uv writes them.
func (h *house) lockedBy(t *testing.T, requirements ...string) string {
	t.Helper()
	in := filepath.Join(h.home, "needs.in")
	check(t, os.WriteFile(in, []byte(strings.Join(requirements, "\n")+"\n"), 0o600))
	cmd := h.command()
	cmd.Path, cmd.Args = uvPath(t), []string{"uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header",
		"--no-annotate", in}
	out, err := cmd.Output()
	check(t, err)
	return string(out)
}

func uvPath(t *testing.T) string {
	t.Helper()
	bin, err := realUV()
	check(t, err)
	return filepath.Join(bin, "uv")
}

// errorOf is the daemon's error in err; nil if there is none.
func errorOf(err error) *rpc.Error {
	e, _ := errors.AsType[*rpc.Error](err)
	return e
}

func TestRequirementsWithHashesAreCompared(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\nstandby = 0\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	ready := h.envOf("uv")
	good := h.lockedBy(t, "iniconfig==2.0.0")
	got := h.acquire(rpc.AcquireParams{Requirements: &good, OwnerPID: new(os.Getpid())})
	if got.Source != rpc.SourceBuilt || !slices.Equal(got.Env.Needs, []string{"iniconfig==2.0.0"}) ||
		!slices.Contains(got.Env.Packages, rpc.Package{Name: "iniconfig", Version: "2.0.0"}) {
		t.Errorf("%s, needs %q", got.Source, got.Env.Needs)
	}
	wrong := regexp.MustCompile(`sha256:[0-9a-f]{8}`).ReplaceAllString(good, "sha256:00000000")
	h.write("wrong.txt", wrong)
	out, errs, code := h.runtEnds("", "run", "--with-requirements", "wrong.txt", "--", "true")
	if out != "" || code != 6 || !strings.Contains(errs, "a hash in the requirements is wrong") ||
		!strings.Contains(errs, "iniconfig") {
		t.Errorf("exit %d, %s", code, errs)
	}
	// The pool has this one already, in this version: it is not taken on trust.
	traitlets := ""
	for _, p := range got.Env.Packages {
		if p.Name == "traitlets" {
			traitlets = fmt.Sprintf("traitlets==%s --hash=sha256:%064d\n", p.Version, 0)
		}
	}
	_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{Requirements: &traitlets})
	if e := errorOf(err); traitlets == "" || e == nil || e.Data.Cause != builder.CauseCorrupt {
		t.Errorf("a wrong hash for %q, which the pool has: %v", traitlets, err)
	}
	// What it needs in turn must have hashes too.
	part := h.lockedBy(t, "beautifulsoup4")
	part = part[:strings.Index(part, "\nsoupsieve")+1]
	_, err = ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{Requirements: &part})
	if e := errorOf(err); e == nil || e.Data.Package != "soupsieve" ||
		!strings.Contains(e.Message, "none for soupsieve") {
		t.Errorf("half a lock file: %v", err)
	}
	if s := h.pool("uv"); s.Available != 1 || s.Error != nil || !isThere(ready) {
		t.Errorf("the pool afterwards: %+v", s)
	}
}

func TestALockFileThatDoesNotFitFailsItsPoolAndIsNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	lock := h.lockedBy(t, "ipykernel")
	check(t, os.MkdirAll(filepath.Join(h.home, ".config/runt"), 0o755))
	wrong := regexp.MustCompile(`sha256:[0-9a-f]{8}`).ReplaceAllString(lock, "sha256:00000000")
	h.write(".config/runt/wrong.txt", wrong)
	h.write(".config/runt/gone.txt", lock+"no-such-package-of-anybody==1 --hash=sha256:"+strings.Repeat("0", 64)+"\n")
	h.write(".config/runt/other.txt", "# runt pool lock, for Python 3.12 on plan9-mips\n"+lock)
	h.configure(`[pools]
uv = { size = 0 }
wrong = { kind = "uv", size = 1, standby = 0, lock = "wrong.txt" }
gone = { kind = "uv", size = 1, standby = 0, lock = "gone.txt" }
other = { kind = "uv", size = 1, standby = 0, lock = "other.txt" }
`)
	h.start()
	for name, want := range map[string][2]string{
		"wrong": {builder.CauseCorrupt, "a hash in " + h.home + "/.config/runt/wrong.txt is wrong"},
		"gone":  {builder.CausePackageNotFound, "gone.txt may be for another Python or platform"},
		"other": {builder.CauseUnsatisfiable, "make one on a machine like this one"},
	} {
		h.eventually(2*time.Minute, name+" fails", func() bool { return h.pool(name).Error != nil })
		if e := h.pool(name).Error; e.Cause != want[0] || !strings.Contains(e.Hint, want[1]) {
			t.Errorf("%s: %s: %s; %s\n%s", name, e.Cause, e.Message, e.Hint, e.Output)
		}
		out, errs, code := h.runtEnds("", "pool", "lock", name)
		if out != "" || code != 6 || !strings.Contains(errs, want[1]) {
			t.Errorf("runt pool lock %s: exit %d, %q %q", name, code, out, errs)
		}
	}
}

func TestALockFileThatIsGoneAtTheStartCostsOnlyItsPool(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure("[pools]\nuv = { size = 1, standby = 0, packages = [\"ipykernel\"] }\n" +
		"team = { kind = \"uv\", size = 1, standby = 0, lock = \"team.txt\" }\n")
	lock := filepath.Join(h.home, ".config/runt/team.txt")
	for range 2 {
		if out, errs, code := h.runtEnds("", "daemon", "start"); code != 0 {
			t.Fatalf("exit %d: %s%s", code, out, errs)
		}
		t.Cleanup(func() { h.runtEnds("", "daemon", "stop") })
		h.filled("uv", time.Minute)
		h.eventually(time.Minute, "the other pool fails", func() bool { return h.pool("team").Error != nil })
		if e := h.pool("team").Error; !strings.Contains(e.Message, lock+" cannot be read: no such file") ||
			!strings.Contains(e.Message, "config.toml:3: pools.team.lock: ") ||
			!strings.Contains(e.Hint, "config check") {
			t.Errorf("it says %s; %s", e.Message, e.Hint)
		}
		_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{Pool: new("team"),
			Packages: []string{"toolz"}})
		if e := errorOf(err); e == nil || !strings.Contains(e.Message, lock) {
			t.Errorf("with a package more: %v", err)
		}
		for args, want := range map[string]int{"config check": 1, "pool fill --wait": 6, "daemon reload": 0} {
			if _, errs, code := h.runtEnds("", strings.Fields(args)...); code != want ||
				code != 0 && !strings.Contains(errs, lock) {
				t.Errorf("runt %s: exit %d: %s", args, code, errs)
			}
		}
		h.write(".config/runt/team.txt", "ipykernel==7.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n")
		h.eventually(time.Minute, "it is built", func() bool { return h.pool("team").Available == 1 })
		h.runt("daemon", "stop")
		check(t, os.Remove(lock)) // what was built from it serves on
		h.runt("daemon", "start")
		h.eventually(time.Minute, "its builds fail", func() bool { return h.pool("team").Error != nil })
		h.acquire(rpc.AcquireParams{Pool: new("team"), WaitMS: new(int64(0)), OwnerPID: new(os.Getpid())})
		h.runt("daemon", "restart")
		h.runt("daemon", "stop")
	}
}

func TestACondaPoolIsBuiltFromTheLockFileOfAnother(t *testing.T) {
	t.Parallel()
	first := newHouse(t).withChannel("size = 1\nstandby = 0\n")
	first.start()
	first.filled("conda", 3*time.Minute)
	lock, _, code := first.runtEnds("", "pool", "lock", "conda")
	if code != 0 || !strings.Contains(lock, "\n  sha256: ") {
		t.Fatalf("exit %d\n%s", code, lock)
	}
	second := newHouse(t).withChannel("size = 1\nstandby = 0\nlock = \"conda.lock\"\n")
	second.write(".config/runt/conda.lock", "# by hand\n"+lock)
	second.start()
	second.filled("conda", 3*time.Minute)
	if s := second.pool("conda"); s.Lock == "" || s.Lock != first.pool("conda").Lock {
		t.Errorf("the locks are %s and %s", first.pool("conda").Lock, s.Lock)
	}
	if again, _, _ := second.runtEnds("", "pool", "lock", "conda"); again != lock {
		t.Errorf("the second machine's lock file:\n%s", again)
	}
	a, b := sitesOf(t, first.envOf("conda")), sitesOf(t, second.envOf("conda"))
	if len(a) < 500 || !maps.Equal(a, b) {
		t.Errorf("%d and %d files, which differ", len(a), len(b))
	}
	had := must[rpc.EnvListResult](second, rpc.MethodEnvList, nil).Envs[0].Packages
	got := second.acquire(rpc.AcquireParams{Pool: new("conda"), Packages: []string{"rt-activate"},
		OwnerPID: new(os.Getpid())})
	for _, p := range had {
		if !slices.Contains(got.Env.Packages, p) {
			t.Errorf("with a package more, %v is missing or another version", p)
		}
	}
	wrong := regexp.MustCompile(`sha256: [0-9a-f]{8}`).ReplaceAllString(lock, "sha256: 00000000")
	second.write(".config/runt/conda.lock", wrong)
	second.eventually(3*time.Minute, "a wrong hash is found", func() bool { return second.pool("conda").Error != nil })
	if e := second.pool("conda").Error; e.Cause != builder.CauseCorrupt ||
		!strings.Contains(e.Hint, "conda.lock may be wrong") {
		t.Errorf("%s: %s; %s\n%s", e.Cause, e.Message, e.Hint, e.Output)
	}
}
