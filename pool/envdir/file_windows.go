package envdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"

	"runtimed/internal/safefile"
)

// WriteWhole replaces the file at path: after a kill there is the old one or the new one. tmp is a folder on the same
// file system. The system replaces no open file, and a scanner may hold the old one for a moment.
func WriteWhole(path string, data []byte, tmp string) error {
	f, err := os.CreateTemp(tmp, filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	for tries := 0; err == nil; tries++ {
		err = os.Rename(f.Name(), path)
		if tries == 20 || !errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, fs.ErrPermission) {
			break
		}
		err = nil
		time.Sleep(safefile.ShortPause)
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
