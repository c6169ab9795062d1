//go:build unix

package safefile

import "path/filepath"

// Resolve is filepath.EvalSymlinks.
func Resolve(path string) (string, error) { return filepath.EvalSymlinks(path) }
