package testkit

import "testing"

func OwnZombies(t *testing.T) int { t.Helper(); return 0 }
