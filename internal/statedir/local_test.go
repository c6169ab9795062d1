package statedir

import (
	"path/filepath"
	"testing"
	"time"
)

func TestTheMountOfAFolderThatIsNotThereIsThatOfOneAbove(t *testing.T) {
	here := put(t, filepath.Join(t.TempDir(), "mountinfo"), "1 1 0:1 / / rw - nfs4 server rw\n")
	for _, dir := range []string{filepath.Join(t.TempDir(), "not", "there"), filepath.Join("not", "there"), ""} {
		found := make(chan string, 1)
		go func() { found <- NetworkOf(dir, here) }()
		select {
		case kind := <-found:
			if kind != "nfs4" {
				t.Errorf("%q: %q", dir, kind)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q: it looks for ever", dir)
		}
	}
}
