package tool

import (
	"os"
	"strings"
)

// Executable reports whether a program can be run. The stand-ins by which the system's store offers Python are not
// regular files.
func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// GlobEscape escapes a path for use in a glob pattern. A backslash escapes nothing here, and no name has a * or ?.
func GlobEscape(path string) string { return strings.ReplaceAll(path, "[", "[[]") }

const Exe = ".exe"

const HomeVariable = "USERPROFILE"
