package envdir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"runtimed/internal/proc"
	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
)

const (
	ManifestName    = "runtimed.json"
	LeaseName       = "lease"
	ManifestVersion = 1
)

// Store knows where things are in the state directory, and changes them so that a kill at any line leaves them whole.
type Store struct {
	Dir string // the state directory, links resolved

	Network, Guest bool // it may be another machine's; see statedir.Mount
}

func (s Store) Envs() string             { return filepath.Join(s.Dir, "envs") }
func (s Store) Records() string          { return filepath.Join(s.Dir, "envs", ".new") }
func (s Store) Trash() string            { return filepath.Join(s.Dir, "envs", ".trash") }
func (s Store) Tools() string            { return filepath.Join(s.Dir, "tools") }
func (s Store) Env(id string) string     { return filepath.Join(s.Envs(), id) }
func (s Store) Record(id string) string  { return filepath.Join(s.Records(), id+".json") }
func (s Store) Manifest(d string) string { return filepath.Join(d, ManifestName) }

func Exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// MarksBuild reports whether a process with this mark (see proc.MarkEnv) belongs to a build of this store.
func (s Store) MarksBuild(mark string) bool { return proc.Below(s.Envs(), mark) || mark == s.Tools() }

// Known reports whether the disk has a trace of the id.
func (s Store) Known(id string) bool {
	for _, path := range []string{s.Env(id), s.Record(id), filepath.Join(s.Trash(), id)} {
		if _, err := os.Lstat(path); err == nil { // the build meets any error
			return true
		}
	}
	return false
}

// PoolOf returns the pool of an environment with this id; ok is false if the id is not ours.
func PoolOf(id string) (pool string, ok bool) { return statedir.PoolOf(id) }

// Open makes the folders, and resolves dir once, so that a later change of a link moves nothing.
func Open(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Store{}, fmt.Errorf("making the state directory: %w", err)
	}
	resolved, err := safefile.Resolve(dir)
	if err != nil {
		return Store{}, fmt.Errorf("resolving the state directory: %w", err)
	}
	if !utf8.ValidString(resolved) { // clients get paths as text, which would name other files
		return Store{}, fmt.Errorf("the state directory leads to %q, which is not UTF-8", resolved)
	}
	s := Store{Dir: resolved}
	for _, d := range []string{s.Records(), s.Trash()} {
		switch err := s.Usable(d); {
		case errors.As(err, new(*safefile.Error)):
			return Store{}, fmt.Errorf("%w, so environments cannot be kept there", err)
		case err != nil:
			return Store{}, fmt.Errorf("making the state directory: %w", err)
		}
	}
	return At(resolved), nil
}

// At is the store in an existing folder, links resolved.
func At(dir string) Store {
	s := Store{Dir: dir}
	if m, err := statedir.MountOf(dir); err == nil {
		s.Network, s.Guest = m.Network, m.Guest
	}
	return s
}

// Usable makes a folder of ours below the state directory, if somebody deleted it or one above. The error is a
// *safefile.Error if a link or a file is in its place. Everything that changes such a folder asks first, since
// somebody may have put a link there.
func (s Store) Usable(dir string) error { return Usable(s.Dir, dir) }

func Usable(state, dir string) error {
	if !strings.HasPrefix(dir, state+string(filepath.Separator)) {
		return os.MkdirAll(dir, 0o700) // the state directory itself may be a link
	}
	if err := Usable(state, filepath.Dir(dir)); err != nil {
		return err
	}
	return safefile.MakeFolder(dir)
}

// Ours says why a folder of ours below the state directory cannot be read: it is absent, or a link or a file is in
// its place or above it.
func Ours(state, dir string) error {
	if !strings.HasPrefix(dir, state+string(filepath.Separator)) {
		return nil
	}
	if err := Ours(state, filepath.Dir(dir)); err != nil {
		return err
	}
	return safefile.Folder(dir)
}

// Begin makes the build record, before a tool makes the folder. Only its name counts; the content is for people and
// need not be whole. A power loss that takes it takes the younger folder too.
func (s Store) Begin(id, pool string) error {
	if err := s.Usable(s.Records()); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]string{"id": id, "pool": pool})
	if err != nil {
		return err
	}
	return safefile.WriteOwn(s.Record(id), append(data, '\n'), 0o600)
}

// Finish makes a built environment count: first the lease record, then the manifest, then the end of the build
// record.
func (s Store) Finish(dir string, m Manifest) (FileID, error) {
	if err := s.Usable(s.Records()); err != nil {
		return FileID{}, err
	}
	if err := s.CreateLease(dir); err != nil {
		return FileID{}, err
	}
	seen, err := s.WriteManifest(dir, m)
	if err != nil {
		return FileID{}, err
	}
	return seen, s.End(m.ID)
}

// FinishAgain is Finish for an extended environment. Its lease record, which says until now that it is not ready,
// comes last.
func (s Store) FinishAgain(dir string, m Manifest) (FileID, error) {
	seen, err := s.WriteManifest(dir, m)
	if err != nil {
		return FileID{}, err
	}
	if err := s.Usable(s.Records()); err != nil {
		return FileID{}, err
	}
	return seen, s.CreateLease(dir)
}

// End removes the build record.
func (s Store) End(id string) error {
	if err := os.Remove(s.Record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ClearRecords ends the build records of an earlier daemon, and moves what it did not finish to the trash. What cannot
// be moved keeps its record, and is tried again at the next start.
func (s Store) ClearRecords() (errs []error) {
	entries, err := os.ReadDir(s.Records())
	if err != nil {
		return []error{err}
	}
	for _, entry := range entries {
		path := filepath.Join(s.Records(), entry.Name())
		id, ok := statedir.RecordOf(path)
		if !ok {
			continue // none of ours
		}
		if id != "" {
			if _, _, err := s.ReadManifest(id); err != nil {
				if !MachineFault(err) {
					err = s.Discard(id)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", id, err))
					continue
				}
			}
		}
		if err := os.Remove(path); err != nil { // also what a kill left of an atomic write
			errs = append(errs, err)
		}
	}
	return errs
}

// Discard moves the folder of an environment to the trash, if it is there. An overlay cannot move a folder of an image,
// so there it is deleted where it is. It becomes an unfinished one first: after a kill the rest does not count, and is
// still known to be ours.
func (s Store) Discard(id string) error {
	from := s.Env(id)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", from) // a link, and not what it leads to
	}
	if err := s.Usable(s.Trash()); err != nil {
		return err
	}
	to := filepath.Join(s.Trash(), id)
	for n := 1; Exists(to); n++ {
		to = filepath.Join(s.Trash(), fmt.Sprintf("%s.%d", id, n))
	}
	switch err = safefile.Rename(from, to); {
	case err == nil:
		return nil
	case statedir.IsMount(from):
		return &statedir.MountError{Path: from}
	case !errors.Is(err, syscall.EXDEV):
		return err
	}
	pool, _ := PoolOf(id)
	if err := s.Begin(id, pool); err != nil {
		return err
	}
	if err := os.Remove(s.Manifest(from)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := RemoveFolder(from); err != nil {
		return err
	}
	return s.End(id)
}

// RemoveFolder deletes a folder with its content, but follows no link and enters no mount.
func RemoveFolder(path string) error {
	return statedir.RemoveTree(filepath.Dir(path), filepath.Base(path), nil)
}

// Trashed are the names in the trash that Discard gave.
func (s Store) Trashed() (names []string) {
	if err := Ours(s.Dir, s.Trash()); err != nil {
		return nil // a link leads to where nothing is ours
	}
	entries, _ := os.ReadDir(s.Trash()) // an error counts as none
	for _, e := range entries {
		if statedir.IsTrash(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// DeleteTrashed deletes a name in the trash.
func (s Store) DeleteTrashed(name string, pause func() error) error {
	return statedir.RemoveTree(s.Envs(), ".trash/"+name, pause)
}

// ReadLock reads the lock file in the folder of an environment. If it is not the one with that hash, whoever has the
// environment has written to it.
func (s Store) ReadLock(dir, hash string) (string, *builder.Error) {
	data, err := ReadOwn(filepath.Join(dir, builder.LockName), MaxInside)
	if err == nil && hash != pyreq.LockHash(string(data)) {
		err = errors.New("it is not as it was written")
	}
	if err != nil {
		return "", builder.Errorf(builder.CauseOther, "have a new environment built: runt pool flush",
			"the lock file in %s cannot be shown: %s", dir, err)
	}
	return string(data), nil
}

// DiskSize returns the bytes that the files below dir take on disk. A file with several links counts once. If ctx
// ends, it is too small.
func DiskSize(ctx context.Context, dir string) int64 {
	seen := map[inode]bool{}
	var total int64
	top, _ := os.Lstat(dir) // an error counts as nothing
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
			return fs.SkipDir // a mount is not part of the environment
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

// Runs says why a used environment cannot be used further. It ignores the sentinels: the user may have installed
// another ipykernel.
func (s Store) Runs(dir, python string) error {
	if err := s.stands(dir); err != nil {
		return err
	}
	switch _, err := os.Stat(python); {
	case MachineFault(err):
		return fmt.Errorf("looking at its Python: %w", err)
	case err != nil:
		return fmt.Errorf("its Python is gone: %w", err)
	}
	return nil
}
