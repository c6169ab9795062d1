//go:build !linux

package daemon

import (
	"os"

	"runtimed/internal/safefile"
)

func scratchFile() (*os.File, error) { return safefile.Scratch("runtimed-start-") }
