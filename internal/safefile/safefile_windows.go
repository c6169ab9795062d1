package safefile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	noWait   = 0 // folders hold no pipes here
	noFollow = windows.FILE_FLAG_OPEN_REPARSE_POINT
)

// openFile is os.OpenFile, but others may rename and remove the file meanwhile: a log that is read must be rotated.
func openFile(path string, flag int, _ fs.FileMode) (*os.File, error) {
	var access uint32 = windows.GENERIC_READ
	switch flag & (os.O_WRONLY | os.O_RDWR) {
	case os.O_WRONLY:
		access = windows.GENERIC_WRITE
	case os.O_RDWR:
		access |= windows.GENERIC_WRITE
	}
	if flag&os.O_APPEND != 0 {
		access = access&^windows.GENERIC_WRITE | windows.FILE_GENERIC_WRITE&^windows.FILE_WRITE_DATA
	}
	var mode uint32 = windows.OPEN_EXISTING
	switch flag & (os.O_CREATE | os.O_EXCL) {
	case os.O_CREATE:
		mode = windows.OPEN_ALWAYS
	case os.O_CREATE | os.O_EXCL:
		mode = windows.CREATE_NEW
	}
	name, err := windows.UTF16PtrFromString(path)
	if err == nil {
		var h windows.Handle
		h, err = windows.CreateFile(name, access,
			windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
			nil, mode, windows.FILE_FLAG_BACKUP_SEMANTICS|uint32(flag)&noFollow, 0) // without the first, no folder
		if err == nil {
			return os.NewFile(uintptr(h), path), nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: err}
}

// Scratch opens a new file for reading and writing that is gone when nobody has it open any more.
func Scratch(prefix string) (*os.File, error) {
	f, err := os.CreateTemp("", prefix)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return os.OpenFile(f.Name(), os.O_RDWR|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
}

// isLink is false, since the link itself is opened.
func isLink(error) bool { return false }

// IsFull reports whether a disk is full.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// linkCount is one: only an open file tells.
func linkCount(fs.FileInfo) uint64 { return 1 }

func names(f *os.File, _ fs.FileInfo) uint64 {
	var id windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &id); err != nil {
		return 1
	}
	return uint64(id.NumberOfLinks)
}
