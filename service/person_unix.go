//go:build unix

package service

import (
	"io/fs"
	"syscall"
)

// ownerOf is -1 where it cannot be told.
func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
