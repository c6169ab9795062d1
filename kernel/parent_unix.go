//go:build unix

package kernel

import (
	"context"
	"os"
	"strconv"
	"time"
)

// parentGone returns once the process that started us has ended, or ctx is done. parent is its number. If another
// process started us, such as a shell in between, only the end of that one can be seen.
func parentGone(ctx context.Context, parent string) {
	first := os.Getppid()
	if pid, err := strconv.Atoi(parent); err == nil && pid != first && first == 1 {
		return
	}
	for os.Getppid() == first {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}
