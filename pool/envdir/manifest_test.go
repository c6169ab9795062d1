package envdir

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestManifestsAreReadAsTheyWereWritten(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Env("uv-01234567")
	want := Manifest{
		Version: 1, ID: "uv-01234567", Pool: "uv", Kind: builder.KindUV, SpecHash: "abc",
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		BootID:    "boot", Python: filepath.Join(dir, "bin/python"),
		Packages: []builder.Package{{Name: "a", Version: "1"}}, Variables: map[string]*string{"A": &dir, "B": nil},
		Sentinels: []Sentinel{{"x", FileID{1, 2, 3}, "abc"}},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wrote, err := s.WriteManifest(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	got, seen, err := s.ReadManifest(want.ID)
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if err != nil || seen != wrote || string(a) != string(b) {
		t.Errorf("%v\n%s\n%s", err, a, b)
	}
	if err := s.Intact(dir, &Manifest{}, seen); err != nil {
		t.Error(err)
	}
}

func TestAManifestIsAsYoungAsACopyThatKeptNoTimes(t *testing.T) {
	before := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct {
		copied bool
		time   time.Time
		want   bool // it has the present time
	}{
		"the same files":         {false, before.Add(time.Minute), false},
		"times of whole seconds": {true, before, false},
		"other times":            {true, before.Add(time.Minute), true},
	} {
		s, err := Open(t.TempDir())
		testkit.Check(t, err)
		dir := s.Env("uv-01234567")
		testkit.Check(t, os.MkdirAll(dir, 0o700))
		path := filepath.Join(dir, "pyvenv.cfg")
		testkit.Check(t, os.WriteFile(path, []byte("1"), 0o600))
		first := before.Add(300 * time.Millisecond)
		testkit.Check(t, os.Chtimes(path, first, first))
		files := []string{"pyvenv.cfg", "python"}
		_ = os.Symlink("pyvenv.cfg", filepath.Join(dir, "python"))
		if runtime.GOOS == "windows" && !Exists(filepath.Join(dir, "python")) { // which has a privilege for links
			files = files[:1]
		}
		list, err := Sentinels(dir, files)
		testkit.Check(t, err)
		_, err = s.WriteManifest(dir, Manifest{Sentinels: list})
		testkit.Check(t, err)
		testkit.Check(t, os.Chtimes(s.Manifest(dir), before, before))
		if c.copied {
			testkit.Check(t, os.Rename(path, path+".old")) // else the copy may get its inode
			testkit.Check(t, os.WriteFile(path, []byte("1"), 0o600))
		}
		testkit.Check(t, os.Chtimes(path, c.time, c.time))
		m, err := Manifest{Sentinels: list}.Renew(dir)
		testkit.Check(t, err)
		info, err := os.Stat(s.Manifest(dir))
		testkit.Check(t, err)
		if got := info.ModTime().After(before); got != c.want {
			t.Errorf("%s: it has the time %s", name, info.ModTime())
		}
		if now, err := Sentinels(dir, files); err != nil || !slices.Equal(now, m.Sentinels) {
			t.Errorf("%s: %v, %v", name, m.Sentinels, err)
		}
	}
}
