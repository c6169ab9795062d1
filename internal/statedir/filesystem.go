package statedir

// Mount is the file system that a folder is on.
type Mount struct {
	Type     string // as the system calls it; empty where that cannot be told
	ReadOnly bool
	NoExec   bool
	Network  bool
	Guest    bool  // it is that of the machine that this virtual one runs on
	NoLinks  bool  // it knows neither symbolic nor hard links
	Inodes   int64 // that there can be; 0: it has no such bound
	Free     int64 // of them
}
