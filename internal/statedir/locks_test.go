package statedir

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

func TestAStateDirectoryThatIsTheSocketsFolderByAnotherNameIsLockedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "State")
	names := []string{dir, dir + "/", dir + "/../State"}
	if !SocketIsFile {
		names = append(names, filepath.ToSlash(dir), strings.ToUpper(dir), `\\?\`+dir)
	}
	for _, name := range names {
		at := Paths{Socket: filepath.Join(dir, "socket"), Folder: dir, State: name, Own: dir}
		l, err := TakeLocks(at, 0, func() error { return at.Prepare(func(string, fs.FileMode) {}) })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pid, _ := ReadLock(at.Lock()); pid == 0 {
			t.Errorf("%s: the lock does not say who has it", name)
		}
		if other, err := HoldLocks(at, 0); err == nil {
			t.Errorf("%s: a second one has it too", name)
			other.Free()
		}
		l.Free()
		held, err := HoldLocks(at, 0)
		if err != nil {
			t.Errorf("%s: a purge cannot have it: %v", name, err)
			continue
		}
		held.Free()
	}
}
