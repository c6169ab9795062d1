package statedir

import (
	"slices"

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

// linklessTypes are made for memory cards.
var linklessTypes = []string{"vfat", "msdos", "exfat"}

// guestTypes are folders of a virtual machine's host, which has another boot and often the same machine-id.
var guestTypes = []string{"9p", "virtiofs", "fuse.grpcfuse", "fakeowner", "vboxsf", "fuse.vmhgfs-fuse", "prl_fs"}

// mountType returns the type of the innermost mount above dir (proc(5), mountinfo). statfs has only numbers, and a
// single one for FUSE.
func mountType(dir string) string {
	lines, _ := MountLines() // an error counts as none
	return innermost(lines, RealPath(dir)).Type
}
