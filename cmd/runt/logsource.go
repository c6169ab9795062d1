package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"runtimed/internal/logview"
	"runtimed/rpc"
)

// logAskTime is how long we ask a daemon where its log is: who looks at a log may do so because the daemon hangs.
const logAskTime = 500 * time.Millisecond

// logSource asks the daemon. Where none answers, the log is in the journal if there is a service that has written there
// last, and else in the file beside the socket: it has most to tell when no daemon answers.
func (d *control) logSource() (logview.Source, error) {
	path, err := d.logFile()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(d.ctx, logAskTime)
	defer cancel()
	if c, info, err := d.meet(ctx, nil); err == nil {
		c.Close()
		switch info.Log {
		case "": // of an older daemon
		case rpc.LogJournal:
			return &logview.Journal{}, nil
		default:
			return &logview.File{Path: info.Log}, nil
		}
	}
	if unit := userUnit(d.env); unit != "" && exists(unit) && d.journalIsNewer(path) {
		return &logview.Journal{}, nil
	}
	return &logview.File{Path: path}, nil
}

// journalIsNewer tells whether the last word of a daemon is in the journal and not in the file: it may have run by hand since.
func (d *control) journalIsNewer(path string) bool {
	lines, err := (&logview.Journal{}).Last(d.ctx, 1, logview.Filter{})
	info, ferr := os.Stat(path)
	if err != nil || ferr != nil {
		return err == nil
	}
	var told struct{ Time time.Time }
	return len(lines) > 0 && json.Unmarshal(lines[0], &told) == nil && told.Time.After(info.ModTime())
}

// userUnit is the file of the user's own service.
func userUnit(env func(string) string) string {
	if runtime.GOOS != "linux" {
		return ""
	}
	dir := env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		if env("HOME") == "" {
			return ""
		}
		dir = filepath.Join(env("HOME"), ".config")
	}
	return filepath.Join(dir, "systemd", "user", "runtimed.service")
}
