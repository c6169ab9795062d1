package statedir

import (
	"math"
	"testing"
)

func TestOnMacOSAFileSystemIsKnownByItsNameAndFlags(t *testing.T) {
	const apfs = 0x04909080 // of a Mac's data volume: local, journaled and others
	for _, c := range []struct {
		name  string
		flags uint32
		files uint64
		free  uint64
		want  Mount
	}{
		{"apfs", apfs, 4_294_967_279, 4_290_000_000, Mount{Inodes: 4_294_967_279, Free: 4_290_000_000}},
		{"apfs", apfs | mntReadOnly | mntNoExec, 9, 0, Mount{ReadOnly: true, NoExec: true, Inodes: 9}},
		{"nfs", 0x0, math.MaxUint64, math.MaxUint64, Mount{Network: true, Inodes: math.MaxInt64, Free: math.MaxInt64}},
		{"smbfs", 0x18, 0, 0, Mount{Network: true}},
		{"msdos", 0x1018, 0, 0, Mount{NoLinks: true}},
		{"exfat", 0x1018, 0, 0, Mount{NoLinks: true}},
		{"sixteen letters!", mntLocal, 0, 0, Mount{}}, // no zero byte
		{"", mntLocal, 0, 0, Mount{}},
	} {
		f := macFilesystem{flags: c.flags, files: c.files, free: c.free}
		copy(f.kind[:], c.name)
		if c.want.Type = c.name; f.mount() != c.want {
			t.Errorf("%s: %+v", c.name, f.mount())
		}
	}
}
