package main

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	socketIsFile = false // a pipe is there exactly as long as the daemon
	foldersLock  = false // a folder cannot be locked, and need not be: nobody can delete a lock file that is open
)

// besideSocket is the state directory, since a pipe is in no folder.
func besideSocket(_, own string) string { return own }

// rights are for the system to judge: folders get them from the user's profile, where nobody else may look.
func rights(fs.FileInfo) (open, ours bool) { return false, true }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// listens is false: no service manager passes a pipe.
func listens(*os.File) bool { return false }
