package pool

import "golang.org/x/sys/unix"

// lastingTypes keep the inode and the birth of a folder for as long as it lives.
var lastingTypes = []string{"apfs", "hfs"}

// folderOf is what tells the folder from its copies; nil where it cannot be had.
func folderOf(dir string) *folderID {
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil {
		return nil
	}
	return &folderID{Inode: st.Ino, Born: st.Btim.Nano()}
}

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
