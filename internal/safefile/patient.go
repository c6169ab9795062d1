package safefile

import "time"

// ShortPause is how long to wait where descriptors or memory are short.
const ShortPause = 50 * time.Millisecond

// Patiently does f again while it fails for want of descriptors or memory: what cannot be looked at must not pass for
// gone or damaged.
func Patiently[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !IsShort(err) {
			return v, err
		}
		time.Sleep(ShortPause)
	}
}
