package envdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"

	"runtimed/internal/safefile"
)

// WriteWhole replaces the file at path: after a kill there is the old one or the new one. tmp is a folder on the same
// file system. Only a read-only file, which is none of ours, is gone for a moment.
func WriteWhole(path string, data []byte, tmp string) error {
	f, err := os.CreateTemp(tmp, filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = safefile.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func identity(path string) (id windows.ByHandleFileInformation, err error) {
	f, err := os.Open(path)
	if err != nil {
		return id, err
	}
	defer f.Close()
	return id, windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &id)
}

// inodeOf tells the file at path from a later one of that name.
func inodeOf(path string, _ fs.FileInfo) (uint64, error) {
	id, err := identity(path)
	return uint64(id.FileIndexHigh)<<32 | uint64(id.FileIndexLow), err
}

type inode struct{}

// onDisk returns the bytes that a file takes on disk. Only opening it would tell how many names it has.
func onDisk(info fs.FileInfo) (size int64, file inode, several bool) {
	if info.Mode().IsRegular() {
		size = (info.Size() + 4095) &^ 4095
	}
	return size, inode{}, false
}

// FreeSpace returns the bytes that may still be written below dir.
func FreeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(name, &free, nil, nil)
	return int64(free), err
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// sameVolume returns true: a walk does not enter a folder that a volume is mounted at.
func sameVolume(fs.FileInfo, fs.FileInfo) bool { return true }

// SameDevice reports whether files can be linked from one folder to the other.
func SameDevice(a, b string) bool {
	ia, aerr := identity(a)
	ib, berr := identity(b)
	return aerr == nil && berr == nil && ia.VolumeSerialNumber == ib.VolumeSerialNumber
}

// damageHere are what this system alone says of a file that is damaged.
var damageHere = []syscall.Errno{windows.ERROR_DIRECTORY, windows.ERROR_CANT_RESOLVE_FILENAME,
	windows.ERROR_FILENAME_EXCED_RANGE, windows.ERROR_INVALID_NAME, windows.ERROR_INVALID_PARAMETER,
	windows.ERROR_BAD_EXE_FORMAT, windows.ERROR_ALREADY_EXISTS, windows.ERROR_FILE_EXISTS, windows.ERROR_DIR_NOT_EMPTY,
	windows.ERROR_BUSY, windows.ERROR_NOT_SAME_DEVICE, windows.ERROR_INVALID_REPARSE_DATA}
