//go:build unix

package tool

import (
	"os"
	"regexp"
)

func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// GlobEscape keeps a path from being taken for a pattern.
func GlobEscape(path string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}

const Exe = "" // what the names of programs end in

const HomeVariable = "HOME"
