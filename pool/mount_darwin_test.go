package pool

import "testing"

func mountTmpfs(t *testing.T, _, _ string, _ ...uintptr) {
	t.Helper()
	t.Skip("no small file system can be mounted here")
}

const mountReadOnly uintptr = 0
