package statedir

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// volume is a file system. Each mount has its own device here.
type volume struct{ dev int32 }

// volumeOf returns the volume of an open folder.
func volumeOf(f *os.File) (volume, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return volume{}, fmt.Errorf("looking at %s: %w", f.Name(), err)
	}
	return volume{st.Dev}, nil
}

// mountedAt reports whether name in an open folder on v is on another volume.
func mountedAt(dir *os.File, name string, v volume) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && volume{st.Dev} != v
}
