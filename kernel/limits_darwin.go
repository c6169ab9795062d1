package kernel

import "golang.org/x/sys/unix"

// blocksSignals is false: this system is not asked.
func blocksSignals() bool { return false }

const unlimited = uint64(1<<63 - 1) // RLIM_INFINITY of sys/resource.h

var limitNames = map[int]string{
	unix.RLIMIT_AS: "as", unix.RLIMIT_CORE: "core", unix.RLIMIT_CPU: "cpu", unix.RLIMIT_DATA: "data",
	unix.RLIMIT_FSIZE: "fsize", unix.RLIMIT_MEMLOCK: "memlock", unix.RLIMIT_NOFILE: "nofile",
	unix.RLIMIT_NPROC: "nproc", unix.RLIMIT_STACK: "stack",
}
