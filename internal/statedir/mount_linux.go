package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// volume is a mount of a file system: a folder of the same one can be mounted anywhere.
type volume struct {
	major, minor uint32
	mount        uint64 // 0 before Linux 5.8
}

// volumeOf returns the volume of an open folder.
func volumeOf(f *os.File) (volume, error) {
	v, _, err := volumeAt(int(f.Fd()), "", unix.AT_EMPTY_PATH)
	if err == nil && v.mount == 0 {
		v.mount = mountInProc(f)
	}
	if err != nil {
		err = fmt.Errorf("looking at %s: %w", f.Name(), err)
	}
	return v, err
}

// volumeAt returns the volume of name, and whether name is a folder. The mount is 0 if the kernel does not tell.
func volumeAt(fd int, name string, flags int) (v volume, isFolder bool, err error) {
	var st unix.Statx_t
	err = unix.Statx(fd, name, flags|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MNT_ID,
		&st)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // an old kernel, or a container's filter
		var old unix.Stat_t
		if err := unix.Fstatat(fd, name, &old, flags|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return volume{}, false, err
		}
		return volume{major: unix.Major(old.Dev), minor: unix.Minor(old.Dev)}, old.Mode&unix.S_IFMT == unix.S_IFDIR, nil
	}
	v = volume{major: st.Dev_major, minor: st.Dev_minor}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		v.mount = st.Mnt_id
	}
	return v, st.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

// mountInProc returns the mount of an open file by /proc; 0 if that does not tell.
func mountInProc(f *os.File) uint64 {
	// ~ on failure the device alone counts
	data, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	for line := range bytes.Lines(data) {
		if value, ok := strings.CutPrefix(string(line), "mnt_id:"); ok {
			id, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return id
		}
	}
	return 0
}

// mountedAt reports whether name in an open folder on v is on another volume.
func mountedAt(dir *os.File, name string, v volume) bool {
	at, isFolder, err := volumeAt(int(dir.Fd()), name, 0)
	if err != nil {
		return false
	}
	if at.mount == 0 {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		f := os.NewFile(uintptr(fd), name)
		at.mount = mountInProc(f)
		_ = f.Close()
	}
	return at.differs(v, isFolder)
}

// mountedPath reports whether path is on another volume than its folder, without opening it: each acquire asks. known
// is false if the kernel does not tell.
func mountedPath(path string) (mounted, known bool) {
	v, _, err := volumeAt(unix.AT_FDCWD, filepath.Dir(path)+"/.", 0)
	if err != nil || v.mount == 0 {
		return false, false
	}
	at, isFolder, err := volumeAt(unix.AT_FDCWD, path, 0)
	return err == nil && at.differs(v, isFolder), true
}

// differs reports whether v is another volume than the folder's. A file of an overlay may have another device than
// its folder, so for files only the mount counts.
func (v volume) differs(folder volume, isFolder bool) bool {
	return v.mount != folder.mount || isFolder && v != folder
}

// Mounts returns the mount points below dir, links resolved.
func Mounts(dir string) []string {
	lines, err := MountLines()
	if err != nil {
		return nil // then only a removal finds them
	}
	dir = RealPath(dir)
	var list []string
	for _, l := range lines {
		if strings.HasPrefix(l.At, dir+"/") && !slices.Contains(list, l.At) {
			list = append(list, l.At)
		}
	}
	return list
}
