package conda

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

const onePackage = `{"name": "one", "version": "1.0",
 "files": ["lib/a.py", "bin/b", "lib/__pycache__/a.pyc", "etc/link"],
 "paths_data": {"paths": [
  {"_path": "lib/a.py", "path_type": "hardlink", "size_in_bytes": 4},
  {"_path": "bin/b", "path_type": "hardlink", "size_in_bytes": 300,
   "prefix_placeholder": "/opt/placehold", "file_mode": "text"},
  {"_path": "lib/__pycache__/a.pyc", "path_type": "pyc_file", "size_in_bytes": 99},
  {"_path": "etc/link", "path_type": "softlink", "size_in_bytes": 0}]}}`

// wholeOne is an environment with one package, whole.
func wholeOne(t *testing.T) string {
	t.Helper()
	dir := prefix(t, map[string]string{
		"conda-meta/one-1.0-0.json": onePackage, "conda-meta/history": "", "lib/a.py": "x=1\n", "bin/b": "#!/somewhere",
		testkit.Site + "/one/__init__.py": "", envdir.ManifestName: "{}",
	})
	testkit.Check(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	if runtime.GOOS == "windows" { // packages have no links there
		testkit.Check(t, os.WriteFile(filepath.Join(dir, "etc", "link"), nil, 0o600))
	} else {
		testkit.Link(t, "nowhere", filepath.Join(dir, "etc", "link"))
	}
	now := time.Now()
	testkit.Check(t, os.Chtimes(filepath.Join(dir, envdir.ManifestName), now, now.Add(time.Second)))
	return dir
}

func TestAWholeCondaEnvironmentIsKnownByItsRecords(t *testing.T) {
	dir := wholeOne(t)
	packages, err := condaPackages(dir)
	if err != nil || len(packages) != 1 || packages[0].Name != "one" || packages[0].Version != "1.0" {
		t.Fatalf("%+v, %v", packages, err)
	}
	if _, err := wholePrefix(t.Context(), dir, packages); err != nil {
		t.Error(err)
	}
	if err := uv.Unchanged(dir); err != nil {
		t.Error(err)
	}
}

func TestADamagedCondaEnvironmentIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(dir string) error
		says   string
	}{
		"a file is gone":   {func(d string) error { return os.Remove(d + "/lib/a.py") }, "lib/a.py of one"},
		"a link is gone":   {func(d string) error { return os.Remove(d + "/etc/link") }, "etc/link of one"},
		"a script is gone": {func(d string) error { return os.Remove(d + "/bin/b") }, "bin/b of one"},
		"a file is cut": {func(d string) error { return os.Truncate(d+"/lib/a.py", 1) },
			"has 1 bytes, 4 were installed"},
		"no record is left": {func(d string) error { return os.RemoveAll(d + "/conda-meta") }, "conda-meta"},
		"a record is cut": {func(d string) error { return os.Truncate(d+"/conda-meta/one-1.0-0.json", 20) },
			"one-1.0-0.json"},
		"a record is empty": {func(d string) error {
			return os.WriteFile(d+"/conda-meta/one-1.0-0.json", []byte("{}"),
				0o600)
		}, "names no package"},
		"something was added": {func(d string) error {
			added := filepath.Join(d, testkit.Site, "added")
			if err := os.Mkdir(added, 0o755); err != nil {
				return err
			}
			later := time.Now().Add(time.Minute)
			return os.Chtimes(added, later, later)
		}, "added was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := wholeOne(t)
			testkit.Check(t, c.damage(dir))
			err := condaIn(t).Verify(t.Context(), builder.Built{}, dir)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAFolderThatPackagesDoNotStandIsRefusedBeforeTheBuild(t *testing.T) {
	for _, name := range []string{"it's", `a"b`, "a$b", "a`b", `a\b`} {
		if filepath.Separator == '\\' && name == `a\b` {
			continue // two folders
		}
		_, err := condaIn(t).Build(t.Context(), builder.Spec{Kind: builder.KindConda},
			"/home/"+name+"/envs/conda-00000001", func(builder.Stage) {})
		if err == nil || !strings.Contains(err.Error(), "in its path") || err.(*builder.Error).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := condaPlace("/home/a b/é%;&*/envs/x"); err != nil {
		t.Error(err)
	}
}
