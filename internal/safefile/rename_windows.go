package safefile

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

const renameTries = 20

// Rename is os.Rename, tried again for a second. The system refuses it while somebody has the file open, or one below
// the folder, or the one that it replaces; a reader, a scanner, or a process that was just ended does for a moment. A
// read-only file, which the system does not replace, is removed first.
func Rename(from, to string) error {
	for tries := 0; ; tries++ {
		err := os.Rename(from, to)
		if err == nil || tries == renameTries ||
			!errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		switch info, lerr := os.Lstat(to); {
		case lerr == nil && info.IsDir():
			return err // it never makes room
		case lerr == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o200 == 0:
			if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		default:
			time.Sleep(ShortPause)
		}
	}
}
