package conda

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"runtimed/internal/project"
	"runtimed/internal/testkit"
)

func TestAPackageOfAPixiLockIsALineForUV(t *testing.T) {
	dir := t.TempDir()
	testkit.Check(t, os.MkdirAll(filepath.Join(dir, "a b"), 0o755))
	testkit.Check(t, os.WriteFile(filepath.Join(dir, "w-1.0-py3-none-any.whl"), nil, 0o644))
	p := &project.Project{Path: dir, File: filepath.Join(dir, "pixi.lock")}
	here := fileURL(dir)
	commit := strings.Repeat("0a", 20)
	for _, c := range []struct {
		d    lockedDistribution
		want string
		sure bool
	}{
		{lockedDistribution{Location: "https://x/w.whl", SHA256: "ab"}, "w @ https://x/w.whl --hash=sha256:ab", true},
		{lockedDistribution{Location: "https://x/w.whl#sha256=ab"}, "w @ https://x/w.whl --hash=sha256:ab", true},
		{lockedDistribution{Location: "direct+https://x/w.whl"}, "w @ https://x/w.whl", false},
		{lockedDistribution{Location: "https://x/${TOKEN}.whl"}, "w @ https://x/%24{TOKEN}.whl", false},
		{lockedDistribution{Location: "./w-1.0-py3-none-any.whl", SHA256: "ab"},
			"w @ " + here + "/w-1.0-py3-none-any.whl --hash=sha256:ab", true},
		{lockedDistribution{Location: "./a b", SHA256: "ab"}, "w @ " + here + "/a%20b", false},
		{lockedDistribution{Location: "./", Editable: true}, "-e " + here, false},
		{lockedDistribution{Location: "git+https://x/y.git?rev=main&subdirectory=s#" + commit, SHA256: "ab"},
			"w @ git+https://x/y.git@" + commit + "#subdirectory=s", false},
		{lockedDistribution{Location: "git+https://x/y@v1"}, "w @ git+https://x/y@v1", false},
	} {
		c.d.Name = "w"
		line, sure, err := c.d.line(p)
		if line != c.want || sure != c.sure || err != nil {
			t.Errorf("%s: %q, %t, %v", c.d.Location, line, sure, err)
		}
	}
	for _, d := range []lockedDistribution{
		{Name: "w", Location: "https://x/w.whl\n--index-url https://y"}, {Name: "w", Location: "https://x/w.whl --pre"},
		{Name: "w\n-e .", Location: "https://x/w.whl"}, {Name: "w"},
	} {
		if line, _, err := d.line(p); err == nil {
			t.Errorf("%+v: %q", d, line)
		}
	}
}

func TestAManifestOfPixiIsComparedAsFarAsItCanBe(t *testing.T) {
	p := &project.Project{File: "/p/pixi.lock", Contents: project.Contents{Manager: "/p/pixi.toml",
		Specs: []string{"numpy"}, Lock: []byte("version: 6\n"),
		Pip: []string{"-e .", "./sub", "Rich_Text[all]>=2", "six @ git+https://x/y", "flask"}}}
	scratch := t.TempDir()
	got, err := pixiIn(scratch, p)
	testkit.Check(t, err)
	want := &pixi{Lock: filepath.Join(scratch, "pixi.lock"), File: "/p/pixi.lock", Manifest: "/p/pixi.toml",
		Specs: []string{"numpy"}, Paths: []string{".", "./sub"},
		Requirements: []requirement{{"rich-text", "Rich_Text>=2"}, {"six", "six"}, {"flask", "flask"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if data, _ := os.ReadFile(got.Lock); string(data) != "version: 6\n" {
		t.Errorf("%q", data)
	}
}
