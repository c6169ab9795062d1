//go:build !linux

package daemon

import "os"

func scratchFile() (*os.File, error) { return temporaryFile() }
