//go:build unix

package rpc

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestOnesOwnAndRootAreTrustedAndNobodyElse(t *testing.T) {
	for _, c := range []struct {
		own, uid int
		want     bool
	}{{1000, 1000, true}, {1000, 0, true}, {0, 0, true}, {0, 1000, false}, {1000, 1001, false}, {1000, 65534, false}} {
		if got := Trusts(c.own, c.uid); got != c.want {
			t.Errorf("own %d, other %d: %v", c.own, c.uid, got)
		}
	}
	if isMapped(1 << 32) {
		t.Error("a user whom no namespace knows is known")
	}
}

func TestOnMacOSThePeerIsKnownByCredentialsAndPid(t *testing.T) {
	gone := fmt.Errorf("asking who connects: %w", syscall.ENOTCONN) // what PeerOf makes of it
	for _, c := range []struct {
		name    string
		version uint32
		cred    error
		pid     error
		want    Peer
		wrong   bool
	}{
		{name: "it is there", want: Peer{501, 700}},
		{name: "it has gone", cred: gone, wrong: true},
		{name: "it has gone meanwhile", pid: syscall.EINVAL, wrong: true},
		{name: "credentials of a system to come", version: 1, wrong: true},
	} {
		m := macPeer{func() (uint32, uint32, error) { return c.version, 501, c.cred },
			func() (int, error) { return 700, c.pid }}
		if peer, err := m.peer(); peer != c.want || (err != nil) != c.wrong {
			t.Errorf("%s: %+v, %v", c.name, peer, err)
		}
	}
}

func TestADaemonThatClosesAtOnceIsNoStranger(t *testing.T) {
	for _, c := range []struct {
		name string
		peer Peer
		err  error
		want string // its kind; empty: fine
	}{
		{"our own", Peer{501, 700}, nil, ""},
		{"root's", Peer{0, 700}, nil, ""},
		{"another's", Peer{502, 700}, nil, KindUntrusted},
		{"gone, says macOS", Peer{}, fmt.Errorf("asking who connects: %w", syscall.ENOTCONN), KindClosed},
		{"gone, it says now and then", Peer{}, fmt.Errorf("asking who connects: %w", syscall.EINVAL), KindClosed},
		{"nobody can tell", Peer{}, syscall.EPERM, KindUntrusted},
	} {
		err := checkOwner(c.peer, c.err, 501, "/tmp/sock")
		var e *Error
		if got := errors.As(err, &e); got != (c.want != "") || got && e.Data.Kind != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
