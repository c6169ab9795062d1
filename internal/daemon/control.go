// Package daemon reaches the daemon for commands: it finds, starts and stops it, by itself or through its service.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/logview"
	"runtimed/internal/statedir"
	"runtimed/rpc"
	"runtimed/service"
)

// Control is what a command needs to reach the daemon.
type Control struct {
	Ctx      context.Context // done after the first SIGINT or SIGTERM
	Detached bool            // SIGINT is meant for a notebook's cell, and must not end children
	Env      func(string) string
	Say      func(line string) // shows progress in words; may be nil
}

// Note says what is going on.
func (d *Control) Note(format string, args ...any) {
	if d.Say != nil {
		d.Say(fmt.Sprintf(format, args...))
	}
}

// Hint says what the user could do next.
func (d *Control) Hint(format string, args ...any) { d.Note("hint: "+format, args...) }

// Socket is the path that clients of this environment connect to.
func (d *Control) Socket() (string, error) {
	path, err := rpc.SocketPath(runtime.GOOS, d.Env)
	if err != nil {
		return "", failure.With(failure.Unreachable, "%v", err)
	}
	return path, nil
}

// RunDir is the folder of the daemon's lock, log and daemon.json.
func (d *Control) RunDir() (string, error) {
	if runtime.GOOS == "windows" { // a pipe is in no folder
		return rpc.StateDir(runtime.GOOS, d.Env)
	}
	socket, err := d.Socket()
	dir := filepath.Dir(socket)
	if owner := statedir.CheckLocal(dir); err == nil && owner != nil { // by RUNTIMED_SOCKET
		err = failure.With(failure.Unreachable, "%v", owner)
	}
	return dir, err
}

// LogFile is where a daemon writes that systemd does not run.
func (d *Control) LogFile() (string, error) {
	dir, err := d.RunDir()
	return filepath.Join(dir, statedir.LogName), err
}

// LockHeld reports whether a daemon holds the lock beside the socket, whether it answers or not.
func (d *Control) LockHeld() bool {
	dir, err := d.RunDir()
	return err == nil && Locked(filepath.Join(dir, statedir.LockName))
}

// CheckHome refuses root with a user's HOME, before anything is made or stopped.
func (d *Control) CheckHome() error {
	if owner, ok := errors.AsType[*statedir.OwnerError](statedir.CheckHome(d.Env("HOME"))); ok {
		return failure.New("%s", owner).WithHint("%s", owner.Hint())
	}
	return nil
}

// logAskTime is short: people look at a log because the daemon hangs.
const logAskTime = 500 * time.Millisecond

// LogSource asks the daemon where its log is. If none answers, it is where a daemon wrote last: the journal, if there
// is a service, or the file beside the socket.
func (d *Control) LogSource() (logview.Source, error) {
	path, err := d.LogFile()
	if err != nil {
		return nil, err
	}
	journal := &logview.Journal{Matches: service.JournalMatches(os.Getuid())}
	ctx, cancel := context.WithTimeout(d.Ctx, logAskTime)
	defer cancel()
	info, err := d.Info(ctx)
	switch {
	case err == nil && info.Log == rpc.LogJournal:
		return journal, nil
	case err == nil && info.Log != "": // older daemons do not say
		path = info.Log
	case service.HasUnit(d.Env) && d.writtenAfter(journal, path):
		return &logview.Journal{Matches: journal.Matches}, nil
	}
	return &logview.File{Path: path}, nil
}

func (d *Control) writtenAfter(journal *logview.Journal, path string) bool {
	lines, err := journal.Last(d.Ctx, 1, logview.Filter{})
	info, ferr := os.Stat(path)
	if err != nil || ferr != nil {
		return err == nil
	}
	return len(lines) > 0 && logview.Time(lines[0]).After(info.ModTime())
}
