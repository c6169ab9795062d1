package envdir

import (
	"slices"

	"runtimed/internal/statedir"
)

// FolderID is what a copy of a folder does not have, however it was made.
type FolderID struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // ns since 1970; 0 where the file system does not keep it
}

// Copied says whether the lease of the folder dir was written for another one, and so came here in a copy.
func Copied(dir string, l *Lease) bool { return l.Folder.IsNot(dir) }

// IsNot says whether another folder is at dir. On file systems of other machines, and where numbers change by themselves, that cannot
// be told.
func (f *FolderID) IsNot(dir string) bool {
	now := FolderOf(dir)
	if f == nil || now == nil || *f == *now {
		return false
	}
	m, err := statedir.MountOf(dir)
	if err != nil || m.Network {
		return false
	}
	inode, born := f.Inode != now.Inode, f.Born != now.Born
	known := f.Born != 0 && now.Born != 0
	switch {
	case slices.Contains(LastingTypes, m.Type):
		return inode || known && born
	case m.Type == "overlay": // each may change alone: the inode with the kernel's cache, the birth with the first write
		return inode && known && born
	}
	return false
}
