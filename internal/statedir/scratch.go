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

// The prefixes of scratch folders: for a tool being fetched, a set being resolved, and .pyc files being kept.
const (
	FetchPrefix   = ".fetch-"
	ResolvePrefix = ".resolve-"
	CompilePrefix = ".compile-"
)

// markName is a file in each folder that is ours with all its content.
const markName = ".runtimed"

// Mark marks the folder at dir, which was just made, as the daemon's.
func Mark(dir string) error {
	return os.WriteFile(filepath.Join(dir, markName), []byte("made by runtimed, which may delete this folder\n"), 0o600)
}

// marked reports whether the folder at dir has the daemon's mark.
func marked(dir string) bool {
	return safefile.Folder(dir) == nil && isFile(filepath.Join(dir, markName))
}

// Scratch makes a folder in dir for unfinished work. remove deletes it; after a kill, CleanScratch does.
func Scratch(dir, prefix string) (path string, remove func(), err error) {
	if path, err = os.MkdirTemp(dir, prefix); err != nil {
		return "", nil, err
	}
	remove = func() {
		real := RealPath(path)                                       // dir may be a link to another disk
		_ = RemoveTree(filepath.Dir(real), filepath.Base(real), nil) // the next start tries again
	}
	if err := Mark(path); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

// CleanScratch deletes the folders in dir that Scratch made with prefix. Nobody may use them.
func CleanScratch(dir, prefix string) error {
	if safefile.Folder(dir) != nil {
		return nil // absent, or behind a link
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if isScratch(filepath.Join(dir, e.Name()), prefix) {
			err = errors.Join(err, RemoveTree(dir, e.Name(), nil))
		}
	}
	return err
}

// resolving are the names in a scratch folder of an earlier version.
var resolving = lazyregexp.New(`^(requirements\.in|lock(\.txt)?|\.?[0-9a-f]{16}-.*)$`)

// isScratch reports whether Scratch made the folder at path. Earlier versions left no mark; there the content
// tells.
func isScratch(path, prefix string) bool {
	number, ok := strings.CutPrefix(filepath.Base(path), prefix)
	if !ok || number == "" || strings.Trim(number, "0123456789") != "" || safefile.Folder(path) != nil {
		return false
	}
	entries, err := os.ReadDir(path)
	switch {
	case err != nil:
		return false
	case marked(path), len(entries) == 0:
		return true
	case prefix == ResolvePrefix:
		return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !resolving().MatchString(e.Name()) })
	}
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() != "venv" && (e.Name() != "requirements.txt" || !pins(filepath.Join(path, e.Name())))
	})
}

// pins reports whether the file at path lists what the daemon fetches.
func pins(path string) bool {
	head := headOf(path)
	return bytes.HasPrefix(head, []byte("uv==")) || bytes.HasPrefix(head, []byte("py-rattler=="))
}
