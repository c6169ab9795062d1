package rpc

import "golang.org/x/sys/unix"

func peerOf(fd int) (Peer, error) {
	return macPeer{
		cred: func() (version, uid uint32, err error) {
			cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
			if err != nil {
				return 0, 0, err
			}
			return cred.Version, cred.Uid, nil
		},
		pid: func() (int, error) { return unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID) },
	}.peer()
}

// restrictSocket can do nothing: the folder (0700) keeps others out until the file gets its mode.
func restrictSocket(uintptr) error { return nil }
