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
