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

// GlobEscape escapes a path for use in a glob pattern.
func GlobEscape(path string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}

const Exe = "" // the end of a program's file name

const HomeVariable = "HOME"
