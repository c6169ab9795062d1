//go:build !linux

package standby

// MemoryShort is empty: this system is not asked.
func MemoryShort() string { return "" }
