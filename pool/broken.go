package pool

import (
	"fmt"
	"runtime/debug"
)

// endOnPanic is deferred by every method that others call, and ends the program where it panics. The caller may well recover, as the
// server does for its methods: then the lock would stay held for ever, or what it guards would be half changed, and nothing would say
// so. Whatever manages the daemon starts it again, and a start repairs everything.
func endOnPanic() {
	p := recover()
	if p == nil {
		return
	}
	stack := debug.Stack() // the deferred call runs on top of what panicked
	go panic(fmt.Sprintf("%v\n\n%s", p, stack))
	select {} // nobody recovers a panic of a goroutine of its own
}
