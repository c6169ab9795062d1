package tool

import (
	"os"
	"strings"
)

// Executable leaves out the stand-ins by which the system's store offers Python: they are no regular files.
func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// GlobEscape keeps a path from being taken for a pattern. A backslash escapes nothing here, and no name has a * or ?.
func GlobEscape(path string) string { return strings.ReplaceAll(path, "[", "[[]") }

const Exe = ".exe"

const HomeVariable = "USERPROFILE"
