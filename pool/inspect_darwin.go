package pool

import "golang.org/x/sys/unix"

func mountOf(dir string) (Mount, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Mount{}, err
	}
	m := Mount{
		Type: unix.ByteSliceToString(st.Fstypename[:]), ReadOnly: st.Flags&unix.MNT_RDONLY != 0, NoExec: st.Flags&unix.MNT_NOEXEC != 0,
		Network: st.Flags&unix.MNT_LOCAL == 0, Inodes: int64(st.Files), Free: int64(st.Ffree),
	}
	m.NoLinks = m.Type == "msdos" || m.Type == "exfat"
	return m, nil
}

// EnvironOf is the environment that a process of ours was started with; nil where it cannot be seen, as here, where it cannot be
// told from the arguments before it with certainty.
func EnvironOf(int) []string { return nil }
