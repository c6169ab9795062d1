package envdir

import "golang.org/x/sys/unix"

// LastingTypes are file systems where a folder keeps its inode and its birth.
var LastingTypes = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "zfs", "bcachefs", "tmpfs"}

// FolderOf identifies the folder; nil if that is not possible.
func FolderOf(dir string) *FolderID {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_INO == 0 {
		return nil
	}
	id := &FolderID{Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id
}
