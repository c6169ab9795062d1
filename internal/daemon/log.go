package daemon

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"runtimed/internal/logview"
	"runtimed/internal/safefile"
	"runtimed/rpc"
	"runtimed/service"
)

// logAskTime is how long we ask a daemon where its log is: who looks at a log may do so because the daemon hangs.
const logAskTime = 500 * time.Millisecond

// LogSource asks the daemon. Where none answers, the log is in the journal if there is a service that has written there
// last, and else in the file beside the socket: it has most to tell when no daemon answers.
func (d *Control) LogSource() (logview.Source, error) {
	path, err := d.LogFile()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(d.Ctx, logAskTime)
	defer cancel()
	if c, info, err := d.Meet(ctx, nil); err == nil {
		c.Close()
		switch info.Log {
		case "": // of an older daemon
		case rpc.LogJournal:
			return daemonJournal(), nil
		default:
			return &logview.File{Path: info.Log}, nil
		}
	}
	if unit := UserUnit(d.Env); unit != "" && safefile.Exists(unit) && d.journalIsNewer(path) {
		return daemonJournal(), nil
	}
	return &logview.File{Path: path}, nil
}

// journalIsNewer tells whether the last word of a daemon is in the journal and not in the file: it may have run by hand since.
func (d *Control) journalIsNewer(path string) bool {
	lines, err := daemonJournal().Last(d.Ctx, 1, logview.Filter{})
	info, ferr := os.Stat(path)
	if err != nil || ferr != nil {
		return err == nil
	}
	return len(lines) > 0 && logview.Time(lines[0]).After(info.ModTime())
}

// UserUnit is the file of the user's own service.
func UserUnit(env func(string) string) string {
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

func daemonJournal() *logview.Journal {
	return &logview.Journal{Matches: service.JournalMatches(os.Getuid())}
}
