package tool

import "golang.org/x/sys/windows"

var setThreadPriority = windows.NewLazySystemDLL("kernel32.dll").NewProc("SetThreadPriority")

// LowerThread gives the calling thread the lowest priority for processor and disk.
func LowerThread() {
	const backgroundBegin = 0x10000 // THREAD_MODE_BACKGROUND_BEGIN
	thread := windows.CurrentThread()
	_, _, _ = setThreadPriority.Call(uintptr(thread), backgroundBegin)
}
