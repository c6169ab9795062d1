// Package safefile opens files so that whatever is in their place does no harm: a link to elsewhere, a named pipe
// that blocks, a device, an endless file. A file that is open here can be renamed and removed, on every system.
//
// A file of our own is never opened through a link. Only the last part of the path counts, since people may keep
// the folders above behind links. A file of the user's may be a link: Open, Read.
package safefile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Error says why a file cannot be used.
type Error struct {
	Path string
	Says string // what follows the path in a sentence: "is a named pipe, not a file"
}

func (e *Error) Error() string { return e.Path + " " + e.Says }

const secondName = "has a second name (a hard link)"

// OpenOwn is os.OpenFile for a file of our own: not through a link, only a regular file, and for writing only one
// without a second name (a hard link). Otherwise the error is an *Error.
func OpenOwn(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := open(path, flag|noFollow, perm, os.Lstat, regular)
	if isLink(err) {
		return nil, &Error{path, "is a link, not a file"}
	}
	return f, err
}

// open looks at what is at path before it opens it, since opening a device may do something, and at what it opened.
func open(path string, flag int, perm fs.FileMode, look func(string) (fs.FileInfo, error),
	check func(string, fs.FileInfo) error) (*os.File, error) {
	if info, err := look(path); err == nil {
		if err := check(path, info); err != nil {
			return nil, err
		}
	}
	f, err := openFile(path, flag&^os.O_TRUNC, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(path, info)
	}
	if err == nil && flag&(os.O_WRONLY|os.O_RDWR) != 0 && names(f, info) > 1 {
		err = &Error{path, secondName}
	}
	if err == nil && flag&os.O_TRUNC != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// CheckOwn returns an *Error if OpenOwn would not open a file for writing; nil if there is no file.
func CheckOwn(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = regular(path, info)
	}
	if err != nil || linkCount(info) <= 1 {
		return err
	}
	return &Error{path, secondName}
}

// ReadOwn reads a file of our own, as OpenOwn opens it. More than limit bytes is an *Error.
func ReadOwn(path string, limit int64) ([]byte, error) {
	f, err := OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, limit)
}

// WriteOwn is os.WriteFile for a file of our own, as OpenOwn opens it. A kill may leave half of it.
func WriteOwn(path string, data []byte, perm fs.FileMode) error {
	f, err := OpenOwn(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Folder returns nil if path is a folder and not a link to one.
func Folder(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return folder(path, info)
}

// OpenFolder opens a folder of anybody's to read it. It may be a link; anything else is an *Error.
func OpenFolder(path string) (*os.File, error) {
	return open(path, os.O_RDONLY|noWait, 0, os.Stat, folder)
}

func folder(path string, info fs.FileInfo) error {
	if info.IsDir() {
		return nil
	}
	return &Error{path, "is " + kind(info) + ", not a folder"}
}

// MakeFolder makes a folder of our own with mode 0700, unless it is there. Its parent must be there.
func MakeFolder(path string) error {
	if err := os.Mkdir(path, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Folder(path)
}

// Open opens a file of the user's for reading. It may be a link or the null device; anything else that is not a
// regular file is an *Error at once.
func Open(path string) (*os.File, error) { return open(path, os.O_RDONLY|noWait, 0, os.Stat, readable) }

// Read reads a file of the user's, as Open opens it. More than limit bytes is an *Error.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, limit)
}

func read(f *os.File, limit int64) ([]byte, error) {
	tooLarge := &Error{f.Name(), "is larger than " + strings.Replace(Size(limit), ".0 ", " ", 1)}
	var data bytes.Buffer
	if info, err := f.Stat(); err == nil {
		if info.Size() > limit {
			return nil, tooLarge
		}
		data.Grow(int(info.Size()) + bytes.MinRead)
	}
	_, err := data.ReadFrom(io.LimitReader(f, limit+1)) // some claim to be empty, and others grow
	if err == nil && int64(data.Len()) > limit {
		return nil, tooLarge
	}
	return data.Bytes(), err
}

func readable(path string, info fs.FileInfo) error {
	if null, err := os.Stat(os.DevNull); err == nil && os.SameFile(info, null) {
		return nil
	}
	if IsRegular(info) {
		return nil
	}
	return regular(path, info)
}

// IsRegular reports whether a file of the user's, found through links, is a regular one. On Windows Go calls one
// irregular that OneDrive or the like keeps.
func IsRegular(info fs.FileInfo) bool { return info.Mode().Type()&^fs.ModeIrregular == 0 }

func regular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &Error{path, "is " + kind(info) + ", not a file"}
}

func kind(info fs.FileInfo) string {
	switch t := info.Mode().Type(); {
	case t.IsRegular():
		return "a file"
	case t&fs.ModeSymlink != 0:
		return "a link"
	case t.IsDir():
		return "a folder"
	case t&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case t&fs.ModeSocket != 0:
		return "a socket"
	case t&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
