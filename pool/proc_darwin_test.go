package pool

import "testing"

const (
	tellsOfExits = false
	mapsAreSeen  = false
)

func mapFile(*testing.T, string) func() { return func() {} }

func ownZombies(t *testing.T) int { t.Helper(); return 0 }
