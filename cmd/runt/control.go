package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"runtimed/internal/failure"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// control is what commands need to reach the daemon.
type control struct {
	ctx   context.Context // ends with the first SIGINT or SIGTERM
	apart bool            // SIGINT is for a cell, and none of our children is to end by it
	env   func(string) string
	say   func(line string) // progress in words, a line at a time; nil: nobody reads it
}

// note says what is going on.
func (d *control) note(format string, args ...any) {
	if d.say != nil {
		d.say(fmt.Sprintf(format, args...))
	}
}

// hint says what the user could do next.
func (d *control) hint(format string, args ...any) { d.note("hint: "+format, args...) }

func (d *control) socket() (string, error) {
	path, err := rpc.SocketPath(runtime.GOOS, d.env)
	if err != nil {
		return "", &failure.Error{Code: failure.Unreachable, Message: err.Error()}
	}
	return path, nil
}

// logFile is where a daemon writes that no systemd runs.
func (d *control) logFile() (string, error) {
	dir, err := d.besideSocket()
	return filepath.Join(dir, statedir.LogName), err
}

// besideSocket is the folder of the daemon's lock, log and daemon.json.
func (d *control) besideSocket() (string, error) {
	if runtime.GOOS == "windows" { // a pipe is in no folder
		return rpc.StateDir(runtime.GOOS, d.env)
	}
	socket, err := d.socket()
	return filepath.Dir(socket), err
}

// ownHome refuses root with a user's HOME, before anything is made or stopped.
func (d *control) ownHome() error {
	var owner *statedir.OwnerError
	if errors.As(statedir.CheckHome(d.env("HOME")), &owner) {
		return failure.New("%s", owner).WithHint("%s", owner.Hint())
	}
	return nil
}

// lockHeld says whether a daemon holds the lock beside the socket, whether it answers or not.
func (d *control) lockHeld() bool {
	dir, err := d.besideSocket()
	return err == nil && held(filepath.Join(dir, statedir.LockName))
}
