package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// Resolve is filepath.EvalSymlinks, but junctions count as links. Go's own fails below one, and below a folder where a
// volume is mounted, and returns the path of one as it is.
func Resolve(path string) (string, error) {
	to, err := filepath.EvalSymlinks(path)
	if err == nil {
		if info, err := os.Lstat(to); err != nil || info.Mode()&fs.ModeIrregular == 0 {
			return to, err
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return finalPath(path)
}

// finalPath asks the system where something is.
func finalPath(path string) (string, error) {
	f, err := openFile(path, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	name := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetFinalPathNameByHandle(windows.Handle(f.Fd()), &name[0], uint32(len(name)), 0)
	if err != nil {
		return "", &fs.PathError{Op: "resolve", Path: path, Err: err}
	}
	return plain(windows.UTF16ToString(name[:min(int(n), len(name))])), nil
}

// plain is a path without the prefix with which programs other than ours cannot do.
func plain(path string) string {
	if share, ok := strings.CutPrefix(path, `\\?\UNC\`); ok {
		return `\\` + share
	}
	if rest := strings.TrimPrefix(path, `\\?\`); filepath.IsAbs(rest) {
		return rest
	}
	return path
}
