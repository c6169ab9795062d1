//go:build unix

package rpc

import (
	"os"
	"testing"

	"runtimed/internal/testkit"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortDir is a folder with a path that leaves room for a socket's name on every system.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "rt")
	testkit.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
