package statedir

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// junction makes one at a path that leads to a folder, as anybody may.
func junction(t *testing.T, at, to string) {
	t.Helper()
	_ = exec.Command("cmd", "/c", "mklink", "/J", at, to).Run()
	if !there(at) {
		t.Skip("junctions cannot be made here")
	}
}

func TestAJunctionIsRemovedAndNotWhatItLeadsTo(t *testing.T) {
	dir := t.TempDir()
	precious := put(t, filepath.Join(dir, "elsewhere", "precious"), "mine")
	put(t, filepath.Join(dir, "tree", "file"))
	junction(t, filepath.Join(dir, "tree", "junction"), filepath.Dir(precious))
	if err := RemoveTree(dir, "tree", nil); err != nil || there(filepath.Join(dir, "tree")) {
		t.Errorf("it stays: %v", err)
	}
	junction(t, filepath.Join(dir, "junction"), filepath.Dir(precious))
	if err := RemoveTree(filepath.Join(dir, "junction"), "precious", nil); err == nil || !there(precious) {
		t.Errorf("a junction was followed: %v", err)
	}
}

func TestAPurgeRemovesAStateDirectoryThatIsAJunction(t *testing.T) {
	dir := t.TempDir()
	state, to := filepath.Join(dir, "runt"), filepath.Join(dir, "disk")
	put(t, filepath.Join(to, LogName))
	junction(t, state, to)
	at := Paths{Socket: `\\.\pipe\x`, Folder: state, State: state, Own: state}
	l, err := TakeLocks(at, 0, func() error { return at.Prepare(func(string, fs.FileMode) {}) })
	if err != nil {
		t.Fatal(err)
	}
	l.Free()
	_, err = Purge(at, false, false, func(bool) ([]string, []Stays, error) { return nil, nil, os.Remove(at.Envs()) })
	if err != nil || there(to) || there(state) {
		t.Errorf("%v; it stays: %v, %v", err, there(to), there(state))
	}
}

func TestWhatHasANameThatWindowsReadsAsAnotherIsRemoved(t *testing.T) {
	dir := t.TempDir()
	beside := put(t, filepath.Join(dir, "beside"), "mine")
	tree := `\\?\` + filepath.Join(dir, "tree") // names are then taken as they are
	for _, name := range []string{"x", "x.", "x..", "x ", " ", "...", "nul", "NUL.txt", "aux.py", "con", "com1", "a:b",
		"odd-1"} {
		folder := tree + `\folders\` + name
		put(t, tree+`\files\`+name)
		put(t, folder+`\x.`)
	}
	if err := RemoveTree(dir, "tree", nil); err != nil || there(tree) {
		t.Errorf("it stays: %v", err)
	}
	if !there(beside) {
		t.Error("what is beside it is gone")
	}
}
