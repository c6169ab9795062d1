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

// isLink says whether opening failed since a link is in the place of the file. Here the link itself is opened, and
// seen to be one.
func isLink(error) bool { return false }

// IsFull says whether err means that there is no room on a disk.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// linkCount is one: how many names a file has could be seen only by opening it.
func linkCount(fs.FileInfo) uint64 { return 1 }

// names is how many names a file has; one where the system does not tell.
func names(f *os.File, _ fs.FileInfo) uint64 {
	var id windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &id); err != nil {
		return 1
	}
	return uint64(id.NumberOfLinks)
}
