package statedir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
)

// MakeFolder makes and marks a folder of the daemon's, unless it is there. Its parent must exist.
func MakeFolder(path string) error {
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return safefile.Folder(path)
	case err != nil:
		return err
	}
	return Mark(path)
}

// toolForm are the names of folders that tools are fetched into.
var toolForm = lazyregexp.New(`^(uv|rattler)-[0-9][0-9A-Za-z.]*$`)

// IsTool reports whether the folder at path holds a tool that the daemon fetched. Earlier versions left no mark, but
// a venv records where it was made.
func IsTool(path string) bool {
	if !toolForm().MatchString(filepath.Base(path)) {
		return false
	}
	venvs := []string{"bin/activate", "Scripts/activate", "pyvenv.cfg"}
	return marked(path) || safefile.Folder(path) == nil && slices.ContainsFunc(venvs, func(name string) bool {
		return bytes.Contains(headOf(filepath.Join(path, filepath.FromSlash(name))), []byte(FetchPrefix))
	})
}

// IsCompiled reports whether the folder at path holds the .pyc files that the daemon keeps for a lock file.
func IsCompiled(path string) bool { return HasLockName(LockOf(path)) && marked(path) }

// CompiledName is the name of such a folder: that of the lock file, and a mark of what is compiled beside the kernel.
func CompiledName(lock, more string) string {
	if more != "" {
		more = "+" + more
	}
	return filepath.Base(lock) + more
}

// LockOf is the name of the lock file that a folder with a CompiledName is for.
func LockOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), "+")
	return name
}

func removable(path string) bool { return IsTool(path) || IsCompiled(path) }

// Install moves a finished tool, or compiled files, from below a scratch folder to the path to. It replaces an earlier
// one, and nothing else.
func Install(from, to string) error {
	if err := Mark(from); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		if !removable(to) {
			return &fs.PathError{Op: "replace", Path: to, Err: errNotOurs}
		}
		// ~ it goes with the scratch folder
		if err := safefile.Rename(to, filepath.Join(filepath.Dir(from), "before")); err != nil {
			return err
		}
	}
	return safefile.Rename(from, to)
}

var errNotOurs = errors.New("the daemon did not make it, so it is left alone: move it away")

// RemoveTool removes a tool that the daemon fetched, or compiled files that it keeps, and nothing else.
func RemoveTool(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !removable(path) {
		return &fs.PathError{Op: "remove", Path: path, Err: errNotOurs}
	}
	return RemoveTree(filepath.Dir(path), filepath.Base(path), nil)
}

// TidyTools removes the tools in dir with that prefix, except keep.
func TidyTools(dir, prefix, keep string) error {
	if safefile.Folder(dir) != nil {
		return nil // absent, or behind a link
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), prefix) && e.Name() != keep &&
			IsTool(path) {
			err = errors.Join(err, RemoveTool(path))
		}
	}
	return err
}
