package statedir

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MountOf describes the file system of dir. The error is errors.ErrUnsupported if the system cannot be asked.
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

// networkTypes are file systems of other machines, by the kernel's names.
var networkTypes = []string{
	"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "afs", "beegfs",
	"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
}

// linklessTypes are made for memory cards.
var linklessTypes = []string{"vfat", "msdos", "exfat"}

// guestTypes are folders of a virtual machine's host, which has another boot and often the same machine-id.
var guestTypes = []string{"9p", "virtiofs", "fuse.grpcfuse", "fakeowner", "vboxsf", "fuse.vmhgfs-fuse", "prl_fs"}

// mountType returns the type of the innermost mount above dir (proc(5), mountinfo). statfs has only numbers, and a
// single one for FUSE.
func mountType(dir string) (name string) {
	dir = RealPath(dir)
	lines, _ := MountLines() // an error counts as none
	longest := 0
	for _, l := range lines {
		inside := l.At == "/" || dir == l.At || strings.HasPrefix(dir, l.At+"/")
		if inside && len(l.At) >= longest { // at the same place the later one counts
			longest, name = len(l.At), l.Type
		}
	}
	return name
}
