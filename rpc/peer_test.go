//go:build unix

package rpc

import "testing"

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
