package statedir

import "errors"

// MountOf describes the file system of dir. The error is errors.ErrUnsupported if the system cannot be asked.
func MountOf(string) (Mount, error) { return Mount{}, errors.ErrUnsupported }
