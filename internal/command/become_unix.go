//go:build unix

package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Become replaces runt by the command. Signals that came in between have the command's own meaning.
func Become(program string, argv, environ []string, stdin *os.File) error {
	if stdin != nil {
		if err := unix.Dup2(int(stdin.Fd()), 0); err != nil {
			return err
		}
	}
	return syscall.Exec(program, argv, environ)
}

// LookUp finds a command as a shell does. It tells "not there" from "there, but not to be run".
func LookUp(name, path string) (string, error) {
	if name == "" {
		return "", fs.ErrNotExist
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return name, executable(name)
	}
	refused := error(fs.ErrNotExist)
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if dir == "" || dir == "." {
			candidate = "." + string(filepath.Separator) + name
		}
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			refused = err
		}
	}
	return "", refused
}

func executable(path string) error {
	info, err := os.Stat(path)
	var pe *fs.PathError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}
