package statedir

import "golang.org/x/sys/unix"

// MountOf describes the file system of dir. The error is errors.ErrUnsupported if the system cannot be asked.
func MountOf(dir string) (Mount, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Mount{}, err
	}
	m := Mount{
		Type: unix.ByteSliceToString(st.Fstypename[:]), ReadOnly: st.Flags&unix.MNT_RDONLY != 0,
		NoExec:  st.Flags&unix.MNT_NOEXEC != 0,
		Network: st.Flags&unix.MNT_LOCAL == 0, Inodes: int64(st.Files), Free: int64(st.Ffree),
	}
	m.NoLinks = m.Type == "msdos" || m.Type == "exfat"
	return m, nil
}
