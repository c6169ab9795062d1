package envdir

import "golang.org/x/sys/unix"

// LastingTypes are file systems where a folder keeps its inode and its birth.
var LastingTypes = []string{"apfs", "hfs"}

// FolderOf identifies the folder; nil if that is not possible.
func FolderOf(dir string) *FolderID {
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil {
		return nil
	}
	return &FolderID{Inode: st.Ino, Born: st.Btim.Nano()}
}
