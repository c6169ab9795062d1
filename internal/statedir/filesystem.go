package statedir

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
