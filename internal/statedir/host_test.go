package statedir

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAFolderIsAskedForItsTimeWithoutATrace(t *testing.T) {
	dir := t.TempDir()
	for _, files := range [][]string{nil, {hostName}} {
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if abandoned(dir) {
			t.Errorf("with %q it counts as abandoned", files)
		}
		if left, _ := os.ReadDir(dir); len(left) != len(files) {
			t.Errorf("with %q, %v is there", files, left)
		}
	}
}

func TestTheFileThatKeepsOtherMachinesOutChangesAndStaysAsLong(t *testing.T) {
	dir := t.TempDir()
	c := &claim{path: filepath.Join(dir, hostName), token: rand.Text()}
	var texts []string
	for range 2 {
		if err := c.renew(); err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(c.path)
		texts = append(texts, string(data))
	}
	if texts[0] == texts[1] || len(texts[0]) != len(texts[1]) {
		t.Errorf("it had %q", texts)
	}
	if ours := beside(dir, false); !slices.Contains(ours, c.path) {
		t.Errorf("a purge finds %q", ours)
	}
	other := &claim{path: c.path, token: rand.Text()}
	host := (*HostError)(nil)
	if err := other.renew(); !errors.As(err, &host) || host.Host != strings.Fields(texts[1])[2] {
		t.Errorf("another daemon is told %v", err)
	}
	if other.free(); !isFile(c.path) {
		t.Error("another daemon has removed it")
	}
	if c.free(); isFile(c.path) {
		t.Error("it stays after a clean stop")
	}
}
