package safefile

import "os"

// Exists reports whether something is at path, through links.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
