package statedir

import (
	"bytes"
	"math"
)

// Mount is the file system that a folder is on.
type Mount struct {
	Type     string // the system's name; empty if unknown
	ReadOnly bool
	NoExec   bool
	Network  bool
	Guest    bool  // shared by the host of this virtual machine
	NoLinks  bool  // without symbolic and hard links
	Inodes   int64 // how many there can be; 0 if unbounded
	Free     int64 // free inodes
}

// macFilesystem is what counts here of macOS's statfs(2).
type macFilesystem struct {
	kind        [16]byte // f_fstypename; a name that fills it has no zero byte
	flags       uint32
	files, free uint64 // inodes
}

// Flags of sys/mount.h.
const (
	mntReadOnly = 0x1
	mntNoExec   = 0x4
	mntLocal    = 0x1000
)

func (f macFilesystem) mount() Mount {
	kind, _, _ := bytes.Cut(f.kind[:], []byte{0})
	m := Mount{
		Type: string(kind), ReadOnly: f.flags&mntReadOnly != 0, NoExec: f.flags&mntNoExec != 0,
		Network: f.flags&mntLocal == 0,
		Inodes:  int64(min(f.files, math.MaxInt64)), Free: int64(min(f.free, math.MaxInt64)),
	}
	m.NoLinks = m.Type == "msdos" || m.Type == "exfat"
	return m
}
