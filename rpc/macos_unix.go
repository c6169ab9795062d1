//go:build unix

package rpc

import "fmt"

// macPeer is what macOS tells of the other end of a socket (sys/un.h). Tests on other systems answer in its place.
type macPeer struct {
	cred func() (version, uid uint32, err error) // LOCAL_PEERCRED
	pid  func() (int, error)                     // LOCAL_PEERPID
}

// peer needs both: without its pid a process cannot own a lease.
func (m macPeer) peer() (Peer, error) {
	version, uid, err := m.cred()
	if err == nil && version != 0 {
		err = fmt.Errorf("xucred has the unknown version %d", version)
	}
	if err != nil {
		return Peer{}, err
	}
	pid, err := m.pid()
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: int(uid), PID: pid}, nil
}
