package envdir

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

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
