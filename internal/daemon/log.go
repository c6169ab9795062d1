package daemon

import (
	"context"
	"os"
	"time"

	"runtimed/internal/logview"
	"runtimed/rpc"
	"runtimed/service"
)

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
