package envdir

import (
	"slices"

	"runtimed/internal/statedir"
)

// FolderID tells a folder from any copy of it.
type FolderID struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // ns since 1970; 0 if the file system does not keep it
}

// Copied reports whether the lease in the folder dir was written for another folder, and came here in a copy.
func Copied(dir string, l *Lease) bool { return l.Folder.IsNot(dir) }

// IsNot reports whether a different folder is at dir. It is false if that cannot be told, as on network file systems.
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
	case m.Type == "overlay":
		// Either may change alone: the inode with the kernel's cache, the birth with the first write.
		return inode && known && born
	}
	return false
}
