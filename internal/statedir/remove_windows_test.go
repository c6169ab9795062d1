package statedir

import (
	"path/filepath"
	"testing"
)

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
