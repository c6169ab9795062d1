package conda

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// replacedOne is an environment in which uv replaced the conda package two by version 2.0, and overwrote a file of one.
func replacedOne(t *testing.T) string {
	t.Helper()
	const site = testkit.Site + "/"
	return prefix(t, map[string]string{
		"conda-meta/one-1.0-0.json": `{"name": "one", "version": "1.0", "files": ["bin/one", "lib/one.so"],
 "paths_data": {"paths": [{"_path": "bin/one", "path_type": "hardlink", "size_in_bytes": 1},
 {"_path": "lib/one.so", "path_type": "hardlink", "size_in_bytes": 1}]}}`,
		"conda-meta/two-conda-1.0-0.json": `{"name": "two-conda", "version": "1.0",
 "files": ["` + site + `two.py", "` + site + `two-1.0.dist-info/METADATA"]}`,
		"bin/one": "longer", "lib/one.so": "1",
		site + "two.py":                      "2",
		site + "two-2.0.dist-info/RECORD":    "two.py,,1\n" + testkit.Up + "bin/one,,6\ntwo-2.0.dist-info/RECORD,,\n",
		site + "two-2.0.dist-info/INSTALLER": "uv",
	})
}

func TestWhatUVReplacedIsReportedAsUVInstalledIt(t *testing.T) {
	dir := replacedOne(t)
	if runtime.GOOS != "windows" { // where the folder is named for no version
		testkit.Link(t, "python3.13", filepath.Join(dir, "lib", "python3.1"))
	}
	packages, err := condaPackages(dir)
	testkit.Check(t, err)
	pypi, err := wholePrefix(t.Context(), dir, packages)
	testkit.Check(t, err)
	got := pypi.reported(packages)
	if len(got) != 2 || got[0] != (builder.Package{Name: "one", Version: "1.0"}) ||
		got[1] != (builder.Package{Name: "two", Version: "2.0"}) {
		t.Errorf("%v", got)
	}
	testkit.Check(t, complete(got, got))
	if err := complete(got, got[:1]); err == nil || !strings.Contains(err.Error(), "two 2.0") {
		t.Errorf("%v", err)
	}
}

func TestDamageIsNoticedWhereUVInstalledToo(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"a file of uv's is cut": func(d string) error {
			return os.Truncate(filepath.Join(d, testkit.Site, "two.py"), 0)
		},
		"a file of uv's is gone":          func(d string) error { return os.Remove(d + "/bin/one") },
		"a file of the channel's is cut":  func(d string) error { return os.Truncate(d+"/lib/one.so", 0) },
		"a file of the channel's is gone": func(d string) error { return os.Remove(d + "/lib/one.so") },
		"what uv installed is gone": func(d string) error {
			return os.RemoveAll(filepath.Join(d, testkit.Site, "two-2.0.dist-info"))
		},
	} {
		dir := replacedOne(t)
		testkit.Check(t, damage(dir))
		packages, err := condaPackages(dir)
		testkit.Check(t, err)
		if _, err := wholePrefix(t.Context(), dir, packages); err == nil {
			t.Error(name)
		}
	}
}
