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
