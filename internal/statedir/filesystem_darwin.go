package statedir

import "golang.org/x/sys/unix"

// MountOf describes the file system of dir. The error is errors.ErrUnsupported if the system cannot be asked.
func MountOf(dir string) (Mount, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Mount{}, err
	}
	return macFilesystem{st.Fstypename, st.Flags, st.Files, st.Ffree}.mount(), nil
}

// These do not compile if the header has other flags.
var _ = [1]int{}[(mntReadOnly^unix.MNT_RDONLY)|(mntNoExec^unix.MNT_NOEXEC)|(mntLocal^unix.MNT_LOCAL)]
