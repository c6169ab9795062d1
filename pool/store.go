package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

const (
	manifestName    = "runtimed.json"
	leaseName       = "lease"
	manifestVersion = 1
)

// store knows where things are on disk, and changes them so that a kill at any line leaves them whole.
type store struct {
	dir string // the cache directory, symlinks resolved

	network, guest bool // it may be another machine's; see Mount
}

func (s store) envs() string             { return filepath.Join(s.dir, "envs") }
func (s store) records() string          { return filepath.Join(s.dir, "envs", ".new") }
func (s store) trash() string            { return filepath.Join(s.dir, "envs", ".trash") }
func (s store) tools() string            { return filepath.Join(s.dir, "tools") }
func (s store) env(id string) string     { return filepath.Join(s.envs(), id) }
func (s store) record(id string) string  { return filepath.Join(s.records(), id+".json") }
func (s store) manifest(d string) string { return filepath.Join(d, manifestName) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// known says whether an id was used before, as far as the disk tells.
func (s store) known(id string) bool {
	for _, path := range []string{s.env(id), s.record(id), filepath.Join(s.trash(), id)} {
		if _, err := os.Lstat(path); err == nil { // any error is for the build to find
			return true
		}
	}
	return false
}

// poolOf is the pool of an environment with such an id; ok is false for what is no id of ours.
func poolOf(id string) (pool string, ok bool) { return statedir.PoolOf(id) }

// openStore makes the folders and resolves dir once, so that no later change of a link moves what is open.
func openStore(dir string) (store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return store{}, fmt.Errorf("making the state directory: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return store{}, fmt.Errorf("resolving the state directory: %w", err)
	}
	if !utf8.ValidString(resolved) { // clients get paths as texts, which would name others
		return store{}, fmt.Errorf("the state directory leads to %q, which is not UTF-8", resolved)
	}
	s := store{dir: resolved}
	for _, d := range []string{s.records(), s.trash()} {
		var other *safefile.Error
		switch err := s.usable(d); {
		case errors.As(err, &other):
			return store{}, fmt.Errorf("%w, so environments cannot be kept there", err)
		case err != nil:
			return store{}, fmt.Errorf("making the state directory: %w", err)
		}
	}
	return storeAt(resolved), nil
}

// storeAt is the store in a folder that is there, symlinks resolved.
func storeAt(dir string) store {
	s := store{dir: dir}
	if m, err := MountOf(dir); err == nil {
		s.network, s.guest = m.Network, m.Guest
	}
	return s
}

// usable makes a folder of ours below the state directory, with those above it, where somebody deleted it; the error is a
// *safefile.Error where a link or a file is in the place of one. Whoever is about to change what a folder holds asks first: somebody
// may have put a link there since the start.
func (s store) usable(dir string) error { return usable(s.dir, dir) }

func usable(state, dir string) error {
	if !strings.HasPrefix(dir, state+string(filepath.Separator)) {
		return os.MkdirAll(dir, 0o700) // the state directory itself, which may be a link
	}
	if err := usable(state, filepath.Dir(dir)); err != nil {
		return err
	}
	return safefile.MakeFolder(dir)
}

// ours says why a folder of ours below the state directory cannot be looked into: it is not there, or a link or a file is in its place
// or above it.
func ours(state, dir string) error {
	if !strings.HasPrefix(dir, state+string(filepath.Separator)) {
		return nil
	}
	if err := ours(state, filepath.Dir(dir)); err != nil {
		return err
	}
	return safefile.Folder(dir)
}

// begin makes the build record. Only then may a tool make the folder. Its name is what counts, its content is for people: so it
// need not be whole, and a power loss that takes it takes the younger folder too.
func (s store) begin(id, pool string) error {
	if err := s.usable(s.records()); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]string{"id": id, "pool": pool})
	if err != nil {
		return err
	}
	return safefile.WriteOwn(s.record(id), append(data, '\n'), 0o600)
}

// finish makes a built environment count: lease record, then the manifest, then the end of the build record.
func (s store) finish(dir string, m Manifest) (fileID, error) {
	if err := s.usable(s.records()); err != nil {
		return fileID{}, err
	}
	if err := s.createLease(dir); err != nil {
		return fileID{}, err
	}
	seen, err := s.writeManifest(dir, m)
	if err != nil {
		return fileID{}, err
	}
	return seen, s.end(m.ID)
}

// finishAgain is finish for an environment that was finished before, and whose lease record says that it is nobody's: that goes last.
func (s store) finishAgain(dir string, m Manifest) (fileID, error) {
	seen, err := s.writeManifest(dir, m)
	if err != nil {
		return fileID{}, err
	}
	if err := s.usable(s.records()); err != nil {
		return fileID{}, err
	}
	return seen, s.createLease(dir)
}

// end unlinks the build record.
func (s store) end(id string) error {
	if err := os.Remove(s.record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// discard moves the folder of an environment into the trash, where nothing can look ready. A folder that is gone is fine.
func (s store) discard(id string) error {
	from := s.env(id)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", from) // whoever put a link there did not mean what it leads to
	}
	if err := s.usable(s.trash()); err != nil {
		return err
	}
	to := filepath.Join(s.trash(), id)
	for n := 1; exists(to); n++ {
		to = filepath.Join(s.trash(), fmt.Sprintf("%s.%d", id, n))
	}
	err = os.Rename(from, to)
	if err != nil && statedir.IsMount(from) {
		return &statedir.MountError{Path: from}
	}
	return err
}

// removeFolder deletes the folder at path and what is in it, but nothing that is mounted there, and nothing that a link leads to.
func removeFolder(path string) error {
	return statedir.RemoveTree(filepath.Dir(path), filepath.Base(path), nil)
}

// deleteTrashed deletes a name that is in the trash.
func (s store) deleteTrashed(name string, pause func() error) error {
	return statedir.RemoveTree(s.envs(), ".trash/"+name, pause)
}

// diskSize is what the files below dir take on disk, in bytes; one with several links inside counts once. It is too little where ctx ends.
func diskSize(ctx context.Context, dir string) int64 {
	seen := map[inode]bool{}
	var total int64
	top, _ := os.Lstat(dir) // where it cannot be looked at, nothing counts
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil // what cannot be read does not count
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if d.IsDir() && top != nil && !sameVolume(top, info) {
			return fs.SkipDir // what is mounted there is not the environment's
		}
		size, file, several := onDisk(info)
		if several && seen[file] {
			return nil
		}
		if several {
			seen[file] = true
		}
		total += size
		return nil
	})
	return total
}

// runs says why a used environment cannot be used on. Its sentinels tell nothing: its user may have installed another ipykernel.
func (s store) runs(dir, python string) error {
	if err := s.stands(dir); err != nil {
		return err
	}
	switch _, err := os.Stat(python); {
	case trouble(err):
		return fmt.Errorf("looking at its Python: %w", err)
	case err != nil:
		return fmt.Errorf("its Python is gone: %w", err)
	}
	return nil
}
