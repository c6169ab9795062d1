//go:build e2e

package conda

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"runtimed/internal/project"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// netRattler is a rattler whose uv reaches the package index, and whose channels are on this machine.
func netRattler(t *testing.T) *rattler {
	t.Helper()
	return realRattler(t, append(testkit.NetEnviron(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")...)
}

// made is an environment of a spec, as reported.
func made(t *testing.T, r *rattler, spec builder.Spec, id string) map[string]string {
	t.Helper()
	began := time.Now()
	built, err := r.c.Build(t.Context(), spec, r.Env(id), func(builder.Stage) {})
	if err != nil {
		t.Fatalf("%s: %+v", id, err)
	}
	t.Logf("%s in %s", id, time.Since(began).Round(time.Millisecond))
	versions := map[string]string{}
	for _, p := range built.Packages {
		if old, twice := versions[p.Name]; twice {
			t.Errorf("%s %s and %s", p.Name, old, p.Version)
		}
		versions[p.Name] = p.Version
	}
	return versions
}

// folder is a project with these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	for name, text := range files {
		path := filepath.Join(dir, name)
		testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.Check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// specOf is the spec for the project in dir, on a pool with these channels.
func specOf(t *testing.T, dir string, frozen bool, channels ...string) builder.Spec {
	t.Helper()
	p, err := project.Find(project.Request{Path: dir, Frozen: frozen})
	testkit.Check(t, err)
	return builder.Spec{Kind: builder.KindConda, Channels: channels, Project: p,
		Base: &builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"}, Channels: channels}}
}

// solver is rattler alone.
const solver = "../../testdata/tools/conda_solve.py"

// solution is what rattler alone makes of specs.
func solution(t *testing.T, r *rattler, channel string, specs ...string) map[string]string {
	t.Helper()
	argv := append([]string{"-I", solver, "solve", channel}, specs...)
	out, err := exec.CommandContext(t.Context(), builder.VenvPython(r.venv()), argv...).Output()
	testkit.Check(t, err)
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[name] = version
	}
	return versions
}

// sameVersions checks that all of want is in got.
func sameVersions(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, version := range want {
		if got[name] != version {
			t.Errorf("%s is %q, not %s", name, got[name], version)
		}
	}
}

// verify checks a built environment as after a crash.
func verify(t *testing.T, r *rattler, id string) error {
	t.Helper()
	dir := r.Env(id)
	packages, err := condaPackages(dir)
	testkit.Check(t, err)
	_, err = wholePrefix(t.Context(), dir, packages)
	return err
}

func TestNeedsOnACondaPoolComeFromItsChannelsAndFromPyPIAndKeepItsVersions(t *testing.T) {
	r := netRattler(t)
	var old atomic.Bool
	old.Store(true)
	server := serve(t, func(w http.ResponseWriter, req *http.Request) bool {
		return old.Load() && strings.HasSuffix(req.URL.Path, "noarch/repodata.json") &&
			rewritten(t, w, req, func(packages map[string]any) { delete(packages, "rt-lib-2.0-0.conda") })
	})
	base := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel", "rt-lib"},
		Channels: []string{server.URL}}
	pools := made(t, r, base, "conda-00000001")
	old.Store(false)
	testkit.Check(t, os.RemoveAll(filepath.Join(r.cache(), "repodata")))

	needs := base
	needs.Base, needs.Python = &base, ">=3.11,<3.14"
	needs.Packages = append(slices.Clone(base.Packages), "rt-activate", "pypi:iniconfig==2.0.0")
	got := made(t, r, needs, "conda-00000002")
	sameVersions(t, got, pools)
	sameVersions(t, got, map[string]string{"rt-lib": "1.0", "rt-activate": "1.0", "iniconfig": "2.0.0"})
	if locks, _ := filepath.Glob(filepath.Join(r.c.dir, "locks", "needs", "*rattler.lock")); len(locks) != 1 {
		t.Errorf("%d lock files of needs", len(locks))
	}
	testkit.Check(t, verify(t, r, "conda-00000002"))

	server.Close()
	sameVersions(t, made(t, r, needs, "conda-00000003"), got)
}

func TestAPoolThatWasRenewedRenewsWhatAddsToIt(t *testing.T) {
	r := realRattler(t)
	server := serve(t, nil)
	base := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"}, Channels: []string{server.URL}}
	needs := base
	needs.Base, needs.Packages = &base, append(slices.Clone(base.Packages), "rt-lib")
	made(t, r, base, "conda-00000001")
	made(t, r, needs, "conda-00000002")
	pools, own := r.c.lockPath(base, r), r.c.lockPath(needs, r)
	before := time.Now().Add(-time.Hour)
	age := func() { testkit.Check(t, os.Chtimes(own, before, before)) }
	age()
	made(t, r, needs, "conda-00000003")
	if a, _ := os.Stat(own); a == nil || a.ModTime().Equal(before) {
		t.Error("it was not solved again")
	}
	age()
	server.Close()
	testkit.Check(t, os.RemoveAll(filepath.Join(r.cache(), "repodata")))
	made(t, r, needs, "conda-00000004") // with what was solved before
	if _, err := os.Stat(pools); err != nil {
		t.Error(err)
	}
}

func TestAnEnvironmentFileGivesWhatTheSolverGivesAndWhatUVAdds(t *testing.T) {
	r := netRattler(t)
	server := serve(t, nil)
	dir := folder(t, map[string]string{
		"environment.yml": "name: x\nchannels: [" + server.URL + ", nodefaults]\n" +
			"dependencies:\n  - python\n  - pip\n  - rt-lib=1.0\n  - rt-activate\n  - pip:\n    - -r more.txt\n" +
			"    - ./mine\n    - wcwidth==0.2.12\nvariables:\n  MY_SETTING: a b\n",
		"more.txt":              "iniconfig==2.0.0\n",
		"mine/pyproject.toml":   "[project]\nname = 'mine'\nversion = '0.1'\n",
		"mine/mine/__init__.py": "",
	})
	spec := specOf(t, dir, false, "https://not.used.example")
	plain := solution(t, r, server.URL, "python", "pip", "rt-lib=1.0", "rt-activate")
	got := made(t, r, spec, "conda-00000001")
	sameVersions(t, got, plain)
	sameVersions(t, got, map[string]string{"rt-lib": "1.0", "mine": "0.1", "iniconfig": "2.0.0", "wcwidth": "0.2.12"})
	if got["ipykernel"] == "" {
		t.Error("it has no ipykernel")
	}
	server.Close()
	built, err := r.c.Build(t.Context(), spec, r.Env("conda-00000002"), func(s builder.Stage) {
		lacks := s.Name == builder.StageDownloading && strings.Contains(s.Message, "lacks")
		if lacks || s.Name == builder.StageResolving {
			t.Errorf("%+v", s)
		}
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if v := built.Variables["MY_SETTING"]; v == nil || *v != "a b" {
		t.Errorf("%v", v)
	}
	for _, name := range []string{"environment.yml", "more.txt", "mine"} {
		testkit.Check(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	if _, err := r.c.Build(t.Context(), spec, r.Env("conda-00000003"), func(builder.Stage) {}); err == nil {
		t.Error("a project that is gone was built")
	}
}

func TestTheKernelIsAddedToAnEnvironmentFileWithoutChangingAVersion(t *testing.T) {
	r := netRattler(t)
	server := serve(t, func(w http.ResponseWriter, req *http.Request) bool {
		return strings.HasSuffix(req.URL.Path, "noarch/repodata.json") &&
			rewritten(t, w, req, func(packages map[string]any) {
				traitlets := packages["traitlets-5.16.1-pyhd_0.conda"].(map[string]any)
				traitlets["depends"] = append(traitlets["depends"].([]any), "rt-lib >=2")
			})
	})
	for lib, fromChannel := range map[string]bool{"rt-lib": true, "rt-lib=1.0": false} {
		dir := folder(t, map[string]string{"environment.yml": "channels: [" + server.URL + "]\n" +
			"dependencies: [python, " + lib + "]\n"})
		id := map[bool]string{true: "conda-00000001", false: "conda-00000002"}[fromChannel]
		got := made(t, r, specOf(t, dir, false), id)
		sameVersions(t, got, solution(t, r, server.URL, "python", lib))
		there := recordOf(r.Env(id), kernelPackage) != ""
		if got["ipykernel"] == "" || there != fromChannel {
			t.Errorf("%s: ipykernel %q, from the channel: %t", lib, got["ipykernel"], there)
		}
	}
}

func TestAProjectThatLeavesNoRoomForTheKernelSaysSo(t *testing.T) {
	r := netRattler(t)
	dir := folder(t, map[string]string{
		"environment.yml":     "dependencies: [python, {pip: [./mine]}]\n",
		"mine/pyproject.toml": "[project]\nname = 'ipython'\nversion = '0.1'\n",
		"mine/ipython.py":     "",
	})
	_, err := r.c.Build(t.Context(), specOf(t, dir, false, "file://"+channelDir(t)), r.Env("conda-00000001"),
		func(builder.Stage) {})
	if b := buildError(t, err); b.Cause != builder.CauseUnsatisfiable || !strings.Contains(b.Output, "ipython") ||
		!strings.HasPrefix(b.Message, "environment.yml has no ipykernel: ") ||
		!strings.Contains(b.Hint, "environment.yml") {
		t.Errorf("%s: %s (%s)\n%s", b.Cause, b.Message, b.Hint, b.Output)
	}
}

func TestAPackageOfPyPIMayTakeThePlaceOfACondaPackage(t *testing.T) {
	r := netRattler(t)
	base := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"},
		Channels: []string{"file://" + channelDir(t)}}
	needs := base
	needs.Base, needs.Packages = &base, append(slices.Clone(base.Packages), "pypi:platformdirs==4.3.8")
	const id = "conda-00000001"
	sameVersions(t, made(t, r, needs, id), map[string]string{"platformdirs": "4.3.8"})
	testkit.Check(t, verify(t, r, id))
	cut, err := filepath.Glob(filepath.Join(r.Env(id), builder.SitesBelow, "platformdirs", "unix.py"))
	if err != nil || len(cut) != 1 {
		t.Fatal(cut, err)
	}
	testkit.Check(t, os.Remove(cut[0]))
	testkit.Check(t, os.WriteFile(cut[0], nil, 0o600))
	if err := verify(t, r, id); err == nil || !strings.Contains(err.Error(), "platformdirs") {
		t.Errorf("%v", err)
	}
}

func TestAProjectThatChangesMeanwhileIsNotBuilt(t *testing.T) {
	r := realRattler(t)
	dir := folder(t, map[string]string{"environment.yml": "dependencies: [python, ipykernel]\n"})
	spec := specOf(t, dir, false, "file://"+channelDir(t))
	_, err := r.c.Build(context.Background(), spec, r.Env("conda-00000001"), func(s builder.Stage) {
		_ = os.WriteFile(filepath.Join(dir, "environment.yml"), []byte("dependencies: [python]\n"), 0o600)
	})
	if b := buildError(t, err); b.Cause != builder.CauseProjectChanged {
		t.Errorf("%+v", b)
	}
}
