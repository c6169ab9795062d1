package statedir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"runtimed/internal/safefile"
)

// MakeFolder makes a folder of the daemon's, and marks it, unless it is there. What is above it must be there.
func MakeFolder(path string) error {
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return safefile.Folder(path)
	case err != nil:
		return err
	}
	return Mark(path)
}

// toolForm are the names of the folders that a tool is fetched into.
var toolForm = regexp.MustCompile(`^(uv|rattler)-[0-9][0-9A-Za-z.]*$`)

// IsTool says whether the folder at path holds a tool that the daemon fetched. Earlier versions left no mark, but a
// venv knows where it was made.
func IsTool(path string) bool {
	if !toolForm.MatchString(filepath.Base(path)) {
		return false
	}
	if marked(path) {
		return true
	}
	made := []byte(FetchPrefix)
	if info, err := os.Lstat(path); err != nil || !info.IsDir() {
		return false
	}
	for _, name := range []string{"bin/activate", "Scripts/activate", "pyvenv.cfg"} {
		if bytes.Contains(headOf(filepath.Join(path, filepath.FromSlash(name))), made) {
			return true
		}
	}
	return false
}

// Install puts a tool that is whole, in the folder from below a scratch folder, at the path to. It takes the place of
// an earlier one, and of nothing else.
func Install(from, to string) error {
	if err := Mark(from); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		if !IsTool(to) {
			return &fs.PathError{Op: "replace", Path: to, Err: errNotOurs}
		}
		// which goes with the scratch folder
		if err := os.Rename(to, filepath.Join(filepath.Dir(from), "before")); err != nil {
			return err
		}
	}
	return os.Rename(from, to)
}

// errNotOurs: it is for the user to move away.
var errNotOurs = errors.New("the daemon did not make it, so it is left alone: move it away")

// RemoveTool removes a tool that the daemon fetched, and nothing else.
func RemoveTool(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !IsTool(path) {
		return &fs.PathError{Op: "remove", Path: path, Err: errNotOurs}
	}
	return RemoveTree(filepath.Dir(path), filepath.Base(path), nil)
}

// TidyTools removes the tools in dir whose name begins with prefix, but for the one named keep.
func TidyTools(dir, prefix, keep string) error {
	if safefile.Folder(dir) != nil {
		return nil // nothing there, or a link to where nothing is ours
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
