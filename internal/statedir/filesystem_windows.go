package statedir

import "errors"

// MountOf tells of the file system that dir is on. The error is errors.ErrUnsupported where the system cannot be asked.
func MountOf(string) (Mount, error) { return Mount{}, errors.ErrUnsupported }
