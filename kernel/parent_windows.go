package kernel

import (
	"context"
	"strconv"

	"golang.org/x/sys/windows"
)

// parentGone returns once the process that started us has ended, or ctx is done. parent is a handle of it that we
// inherited.
func parentGone(ctx context.Context, parent string) {
	n, err := strconv.ParseUint(parent, 10, 64)
	for err == nil && ctx.Err() == nil {
		var event uint32
		event, err = windows.WaitForSingleObject(windows.Handle(n), 1000)
		if event == windows.WAIT_OBJECT_0 && err == nil {
			return
		}
	}
	<-ctx.Done()
}
