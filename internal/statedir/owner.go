package statedir

import (
	"fmt"
	"os"
	"path/filepath"
)

// OwnerError means that something belongs to another user.
type OwnerError struct {
	What     string // "HOME is /home/ann, which", "the folder /x"
	UID, Own int
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to uid %d, and this is uid %d", e.What, e.UID, e.Own)
}

// Hint is the next step.
func (e *OwnerError) Hint() string {
	return "run it as that user, without sudo: what is made here would be another's"
}

// CheckHome refuses root with another user's HOME, as sudo -E leaves it: what root makes there would lock the user
// out.
func CheckHome(home string) error {
	info, err := os.Stat(home)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	if uid, known := OwnerUID(info); known && uid != 0 {
		return &OwnerError{fmt.Sprintf("HOME is %s, which", home), uid, 0}
	}
	return nil
}

// CheckPlace refuses root a folder that would be made inside another user's.
func CheckPlace(dir string) error {
	for up := dir; os.Geteuid() == 0; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil && up != filepath.Dir(up) {
			continue
		}
		if err != nil {
			return nil // making it will say what is wrong
		}
		if uid, known := OwnerUID(info); known && uid != 0 {
			return &OwnerError{"the folder " + up, uid, 0}
		}
		return nil
	}
	return nil
}
