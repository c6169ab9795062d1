package pool

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runtimed/internal/statedir"
)

// networkTypes are file systems of other machines, as the kernel names them.
var networkTypes = []string{
	"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "afs", "beegfs",
	"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
}

// linklessTypes are those made for memory cards.
var linklessTypes = []string{"vfat", "msdos", "exfat"}

// guestTypes are folders of the machine that this virtual one runs on, which has another boot, and often the same machine-id.
var guestTypes = []string{"9p", "virtiofs", "fuse.grpcfuse", "fakeowner", "vboxsf", "fuse.vmhgfs-fuse", "prl_fs"}

// lastingTypes keep the inode and the birth of a folder for as long as it lives.
var lastingTypes = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "zfs", "bcachefs", "tmpfs"}

// folderOf is what tells the folder from its copies; nil where it cannot be had.
func folderOf(dir string) *folderID {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_INO == 0 {
		return nil
	}
	id := &folderID{Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id
}

func mountOf(dir string) (Mount, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Mount{}, err
	}
	m := Mount{
		Type: mountType(dir), ReadOnly: st.Flags&unix.ST_RDONLY != 0, NoExec: st.Flags&unix.ST_NOEXEC != 0,
		Inodes: int64(st.Files), Free: int64(st.Ffree),
	}
	m.Network = slices.Contains(networkTypes, m.Type)
	m.Guest = slices.Contains(guestTypes, m.Type)
	m.NoLinks = slices.Contains(linklessTypes, m.Type)
	return m, nil
}

// mountType is the type in the line of the innermost mount that dir is below (proc(5), mountinfo): statfs knows numbers only, and
// one number for all of FUSE.
func mountType(dir string) (name string) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	lines, _ := statedir.MountLines() // where they cannot be read, there is none
	longest := 0
	for _, l := range lines {
		inside := l.At == "/" || dir == l.At || strings.HasPrefix(dir, l.At+"/")
		if inside && len(l.At) >= longest { // of two at the same place the later one counts
			longest, name = len(l.At), l.Type
		}
	}
	return name
}

// EnvironOf is the environment that a process of ours was started with; nil where it cannot be seen.
func EnvironOf(pid int) []string {
	data, err := readFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}
