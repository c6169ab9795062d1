package statedir

import (
	"fmt"
	"os"
	"path/filepath"

	"runtimed/internal/safefile"
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
func CheckHome(home string) error { return refuseRoot(home, fmt.Sprintf("HOME is %s, which", home)) }

// CheckPlace refuses root a folder that would be made inside another user's.
func CheckPlace(dir string) error {
	up := Standing(dir)
	return refuseRoot(up, "the folder "+up)
}

func refuseRoot(path, what string) error {
	info, err := os.Stat(path)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	if uid, known := OwnerUID(info); known && uid != 0 {
		return &OwnerError{what, uid, 0}
	}
	return nil
}

// Standing is path or the nearest existing folder above it.
func Standing(path string) string {
	for up := path; ; up = filepath.Dir(up) {
		if safefile.Exists(up) || up == filepath.Dir(up) {
			return up
		}
	}
}
