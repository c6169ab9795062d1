//go:build e2e

package conda

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"runtimed/internal/project"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// wheelServer serves the wheels that the test channel was made of, and says what one is there: its URL and its hash.
func wheelServer(t *testing.T) (server *httptest.Server, wheel func(name string) (file, version, url, sum string)) {
	t.Helper()
	dir := channelDir(t) + ".wheels"
	server = httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server, func(name string) (file, version, url, sum string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, name+"-*.whl"))
		if err != nil || len(found) == 0 {
			t.Fatal(name, err)
		}
		data, err := os.ReadFile(found[0])
		testkit.Check(t, err)
		s := sha256.Sum256(data)
		file = filepath.Base(found[0])
		return file, strings.Split(file, "-")[1], server.URL + "/" + file, hex.EncodeToString(s[:])
	}
}

// pixiLock is the pixi.lock that rattler writes for specs and packages of PyPI: name, version, location and hash.
func pixiLock(t *testing.T, r *rattler, channel, platform string, specs []string, pypi ...[4]string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "pixi.lock")
	argv := []string{"-I", solver, "lock", channel, platform, out, strings.Join(specs, " ")}
	for _, p := range pypi {
		argv = append(argv, strings.Join(p[:3], "|"))
	}
	said, err := exec.CommandContext(t.Context(), builder.VenvPython(r.venv()), argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	data, err := os.ReadFile(out)
	testkit.Check(t, err)
	text := string(data)
	for _, p := range pypi { // rattler's Python has no way to add a hash
		if p[3] != "" {
			at := regexp.MustCompile(`(?m)^- pypi: ` + regexp.QuoteMeta(p[2]) + `\n  name: .*\n  version: .*\n`)
			text = at.ReplaceAllString(text, "${0}  sha256: "+p[3]+"\n")
		}
	}
	return text
}

const mine = "[project]\nname = 'mine'\nversion = '0.3'\n"

func TestAPixiLockIsInstalledAsItIsWithItsPackagesOfPyPI(t *testing.T) {
	r := netRattler(t)
	server := serve(t, nil)
	_, wheel := wheelServer(t)
	_, version, url, sum := wheel("packaging")
	dir := folder(t, map[string]string{
		"pixi.toml": "[workspace]\nchannels = ['" + server.URL + "']\nplatforms = ['" + project.CondaSubdir() + "']\n" +
			"[dependencies]\npython = '>=3.10'\nrt-lib = '1.*'\n" +
			"[pypi-dependencies]\npackaging = '*'\nmine = { path = './mine', editable = true }\n",
		"mine/pyproject.toml":   mine,
		"mine/mine/__init__.py": "",
	})
	lock := pixiLock(t, r, server.URL, project.CondaSubdir(), []string{"python", "rt-lib=1.0"},
		[4]string{"packaging", version, url, sum}, [4]string{"mine", "0.3", "./mine", ""})
	put := func(text string) {
		testkit.Check(t, os.WriteFile(filepath.Join(dir, "pixi.lock"), []byte(text), 0o644))
	}
	put(lock)
	spec := specOf(t, dir, false)
	got := made(t, r, spec, "conda-00000001")
	sameVersions(t, got, solution(t, r, server.URL, "python", "rt-lib=1.0"))
	sameVersions(t, got, map[string]string{"rt-lib": "1.0", "packaging": version, "mine": "0.3"})
	if got["ipykernel"] == "" || recordOf(r.Env("conda-00000001"), kernelPackage) != "" {
		t.Errorf("ipykernel %q", got["ipykernel"])
	}
	out, err := exec.CommandContext(t.Context(), pythonOf(r.Env("conda-00000001")), "-c",
		"import mine; print(mine.__file__)").Output()
	if err != nil || strings.TrimSpace(string(out)) != filepath.Join(dir, "mine", "mine", "__init__.py") {
		t.Errorf("%v: %s", err, out)
	}
	testkit.Check(t, verify(t, r, "conda-00000001"))

	server.Close()
	sameVersions(t, made(t, r, spec, "conda-00000002"), got)

	put(strings.ReplaceAll(lock, sum, strings.Repeat("ab", 32)))
	_, err = r.c.Build(t.Context(), specOf(t, dir, false), r.Env("conda-00000003"), func(builder.Stage) {})
	if b := buildError(t, err); b.Cause != builder.CauseCorrupt {
		t.Errorf("%+v", b)
	}
}

func TestNeedsBesideAPixiLockComeFromItsChannelAndChangeNoVersion(t *testing.T) {
	r := realRattler(t)
	server := serve(t, nil)
	dir := folder(t, map[string]string{"pixi.lock": pixiLock(t, r, server.URL, project.CondaSubdir(),
		[]string{"python", "ipykernel", "rt-lib=1.0"})})
	spec := specOf(t, dir, false)
	spec.Packages = []string{"rt-activate"}
	got := made(t, r, spec, "conda-00000001")
	sameVersions(t, got, map[string]string{"rt-lib": "1.0", "rt-activate": "1.0"})
	changed := spec
	changed.Packages = []string{"rt-lib=2.0"}
	_, err := r.c.Build(t.Context(), changed, r.Env("conda-00000003"), func(builder.Stage) {})
	if builder.CauseOf(err) != builder.CauseUnsatisfiable {
		t.Errorf("a locked version was to be changed: %v", err)
	}
	server.Close()
	testkit.Check(t, os.RemoveAll(filepath.Join(r.cache(), "repodata")))
	sameVersions(t, made(t, r, spec, "conda-00000002"), got)
}

func TestAnOutdatedPixiLockIsRefusedAndMayBeUsedAsItIs(t *testing.T) {
	r := realRattler(t)
	channel := "file://" + channelDir(t)
	lock := pixiLock(t, r, channel, project.CondaSubdir(), []string{"python", "ipykernel", "rt-lib=1.0"})
	for name, dependencies := range map[string]string{
		"another version":       "[dependencies]\nrt-lib = '>=2'\n",
		"another package":       "[dependencies]\nrt-activate = '*'\n",
		"one more of PyPI":      "[pypi-dependencies]\niniconfig = '*'\n",
		"one more folder":       "[pypi-dependencies]\nmine = { path = 'mine' }\n",
		"":                      "[dependencies]\nrt-lib = '==1.0'\n[pypi-dependencies]\nipykernel = '*'\n",
		"a channel by its name": "[dependencies]\nrt-lib = { version = '>=2', channel = '" + channel + "' }\n",
	} {
		dir := folder(t, map[string]string{"pixi.lock": lock, "pixi.toml": "[workspace]\nchannels = ['" + channel +
			"']\nplatforms = ['" + project.CondaSubdir() + "']\n" + dependencies, "mine/pyproject.toml": mine})
		id := fmt.Sprintf("conda-%08x", len(name))
		_, err := r.c.Build(t.Context(), specOf(t, dir, false), r.Env(id), func(builder.Stage) {})
		if name == "" {
			testkit.Check(t, err)
			continue
		}
		b := buildError(t, err)
		if b.Cause != builder.CauseLockOutdated || !strings.Contains(b.Message, "pixi.lock is older than") ||
			!strings.Contains(b.Hint, "--frozen") {
			t.Errorf("%s: %+v", name, b)
		}
		if name == "another version" {
			sameVersions(t, made(t, r, specOf(t, dir, true), "conda-000000ff"), map[string]string{"rt-lib": "1.0"})
		}
	}
}

func TestAPixiLockThatCannotBeUsedSaysWhy(t *testing.T) {
	r := realRattler(t)
	other := "osx-arm64"
	elsewhere := strings.ReplaceAll(pixiLock(t, r, "file://"+channelDir(t), project.CondaSubdir(), []string{"rt-lib"}),
		"name: "+project.CondaSubdir(), "name: "+other)
	elsewhere = strings.ReplaceAll(elsewhere, "      "+project.CondaSubdir()+":", "      "+other+":")
	for lock, says := range map[string]string{
		"version: [":     "cannot be read",
		"version: 99\n":  "cannot be read",
		elsewhere:        "but for " + other,
		"environments: ": "cannot be read",
	} {
		dir := folder(t, map[string]string{"pixi.lock": lock})
		_, err := r.c.Build(t.Context(), specOf(t, dir, false), r.Env("conda-00000001"), func(builder.Stage) {})
		if b := buildError(t, err); !strings.Contains(b.Message, says) || b.Hint == "" ||
			!strings.Contains(b.Message, filepath.Join(dir, "pixi.lock")) {
			t.Errorf("%.30q: %+v", lock, b)
		}
	}
}
