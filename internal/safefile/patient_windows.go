package safefile

import (
	"errors"

	"golang.org/x/sys/windows"
)

// IsShort reports whether handles or memory are short, which passes.
func IsShort(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) ||
		errors.Is(err, windows.ERROR_NO_SYSTEM_RESOURCES)
}
