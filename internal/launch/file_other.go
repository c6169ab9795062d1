//go:build unix && !linux

package launch

import "os"

// File returns a file from which the script can be read once.
func File(script string) (*os.File, error) { return pipe(script) }
