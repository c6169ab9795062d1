package statedir

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MountOf tells of the file system that dir is on. The error is errors.ErrUnsupported where the system cannot be asked.
func MountOf(dir string) (Mount, error) {
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

// networkTypes are file systems of other machines, as the kernel names them.
var networkTypes = []string{
	"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "afs", "beegfs",
	"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
}

// linklessTypes are those made for memory cards.
var linklessTypes = []string{"vfat", "msdos", "exfat"}

// guestTypes are folders of the machine that this virtual one runs on, which has another boot, and often the same
// machine-id.
var guestTypes = []string{"9p", "virtiofs", "fuse.grpcfuse", "fakeowner", "vboxsf", "fuse.vmhgfs-fuse", "prl_fs"}

// mountType is the type in the line of the innermost mount that dir is below (proc(5), mountinfo): statfs knows numbers
// only, and one number for all of FUSE.
func mountType(dir string) (name string) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	lines, _ := MountLines() // where they cannot be read, there is none
	longest := 0
	for _, l := range lines {
		inside := l.At == "/" || dir == l.At || strings.HasPrefix(dir, l.At+"/")
		if inside && len(l.At) >= longest { // of two at the same place the later one counts
			longest, name = len(l.At), l.Type
		}
	}
	return name
}
