package kernel

import "golang.org/x/sys/unix"

// blocksSignals says whether signals were blocked when this process began. Another process cannot tell: Go blocks all
// for moments.
func blocksSignals() bool {
	var mask unix.Sigset_t
	return unix.PthreadSigmask(unix.SIG_SETMASK, nil, &mask) == nil && mask != unix.Sigset_t{}
}

const unlimited = ^uint64(0)

var limitNames = map[int]string{
	unix.RLIMIT_AS: "as", unix.RLIMIT_CORE: "core", unix.RLIMIT_CPU: "cpu", unix.RLIMIT_DATA: "data",
	unix.RLIMIT_FSIZE: "fsize", unix.RLIMIT_MEMLOCK: "memlock", unix.RLIMIT_MSGQUEUE: "msgqueue",
	unix.RLIMIT_NICE: "nice", unix.RLIMIT_NOFILE: "nofile", unix.RLIMIT_NPROC: "nproc", unix.RLIMIT_RSS: "rss",
	unix.RLIMIT_RTPRIO: "rtprio", unix.RLIMIT_RTTIME: "rttime", unix.RLIMIT_SIGPENDING: "sigpending",
	unix.RLIMIT_STACK: "stack",
}
