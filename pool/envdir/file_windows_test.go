package envdir

import (
	"os"
	"path/filepath"
	"testing"

	"runtimed/internal/statedir"
)

func TestAFileIsReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var seen []FileID
	for _, text := range []string{"one", "two"} {
		if err := WriteWhole(path, []byte(text), dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		id, iderr := statID(path)
		if err != nil || iderr != nil || string(data) != text {
			t.Errorf("%q, %v, %v", data, err, iderr)
		}
		seen = append(seen, id)
	}
	if seen[0].Inode == seen[1].Inode {
		t.Error("the two files are the same")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%v is left", entries)
	}
}

func TestTheDiskIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	if free, err := FreeSpace(dir); err != nil || free <= 0 {
		t.Errorf("%d, %v", free, err)
	}
	if !SameDevice(dir, filepath.Dir(dir)) || SameDevice(dir, filepath.Join(dir, "none")) {
		t.Error("where files can be linked is not known")
	}
	if statedir.Writable(dir) != nil || statedir.Writable(filepath.Join(dir, "none")) == nil {
		t.Error("what can be written is not known")
	}
}
