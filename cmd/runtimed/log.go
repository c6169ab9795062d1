package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/DeRuina/timberjack"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"runtimed/internal/redact/redactzap"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// The log file is at most logSize MB, and logKept older ones stay beside it.
const (
	logSize = 5
	logKept = 2
)

// logbook is where the daemon writes its log, and how much of it.
type logbook struct {
	*zap.Logger

	ours  bool // the lock beside the log is
	level zap.AtomicLevel
	place string      // the file, or rpc.LogJournal; empty: a terminal
	file  *logFile    // nil unless it is a file
	trace fs.FileInfo // the file that a crash would be told in
}

// openLog writes to the journal of systemd where that reads our stderr, for people on a terminal, and else JSON lines
// into the rotated file. The file is opened by the first line.
func openLog(at statedir.Paths, s *settings) (*logbook, error) {
	lvl, err := zap.ParseAtomicLevel(s.Load().LogLevel)
	if err != nil {
		return nil, err
	}
	b := &logbook{level: lvl}
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.RFC3339TimeEncoder
	cfg.EncodeDuration = zapcore.StringDurationEncoder
	cfg.TimeKey = "time"
	inJournal := newJournalCore(cfg, lvl)
	var core zapcore.Core
	switch {
	case inJournal != nil:
		b.place, core = rpc.LogJournal, inJournal
	case term.IsTerminal(int(os.Stderr.Fd())):
		cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05")
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		if os.Getenv("NO_COLOR") == "" {
			cfg.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		core = zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(os.Stderr), lvl)
	default:
		b.place = at.Log()
		b.file = newLogFile(at, os.Stderr)
		core = zapcore.NewCore(zapcore.NewJSONEncoder(cfg), zapcore.AddSync(b.file), lvl)
	}
	b.Logger = zap.New(redactzap.New(core, b.place == ""))
	return b, nil
}

func loggerOf(b *logbook) *zap.Logger { return b.Logger }

// begin writes the first line of each run. The log belongs to the daemon that has the lock beside it, so before that
// nothing is written.
func (b *logbook) begin(s *settings, at statedir.Paths, a about) {
	b.ours = true
	b.Info("starting", zap.String("version", rpc.Version()), zap.Int("pid", os.Getpid()),
		zap.String("config", s.Load().Path),
		zap.String("state", at.State), zap.String("started_by", a.startedBy), zap.String("program", a.program.path))
}

// logFile keeps timberjack from what is no file of ours: it opens whatever is there, follows a link, and waits on a
// named pipe.
type logFile struct {
	rotated *timberjack.Logger
	shared  bool // the folder may hold files of the user's
	stderr  io.Writer
	told    atomic.Bool // that it cannot be written
}

func newLogFile(at statedir.Paths, stderr io.Writer) *logFile {
	rotated := &timberjack.Logger{Filename: at.Log(), MaxSize: logSize, MaxBackups: logKept, FileMode: 0o600}
	return &logFile{rotated: rotated, shared: at.Shared(), stderr: stderr}
}

// check says why what lies at the log's path is not to be written to.
func (l *logFile) check() error {
	path := l.rotated.Filename
	if err := safefile.CheckOwn(path); err != nil {
		return err
	}
	if l.shared && safefile.Exists(path) && !statedir.IsLog(path) {
		return fmt.Errorf("%s is no log of a daemon, so it is left alone", path)
	}
	return nil
}

func (l *logFile) Write(line []byte) (int, error) {
	if err := l.check(); err != nil {
		if !l.told.Swap(true) {
			fail(l.stderr, fmt.Errorf("nothing can be logged: %w", err),
				"move it away; the log begins anew within seconds")
		}
		return len(line), nil // that was said
	}
	l.told.Store(false)
	return l.rotated.Write(line)
}

// restore opens the file again that somebody deleted, else what is written would be seen by nobody; and follows a
// rotation.
func (b *logbook) restore() {
	if b.file == nil {
		return
	}
	switch at, err := os.Lstat(b.place); {
	case errors.Is(err, fs.ErrNotExist):
		if b.file.rotated.Rotate() == nil {
			b.Warn("the log was removed by somebody; it begins anew")
			b.catchCrashes()
		}
	case err == nil && !os.SameFile(at, b.trace):
		b.catchCrashes()
	}
}

// catchCrashes has the trace of a crash written to the log file too: nobody may be reading stderr.
func (b *logbook) catchCrashes() {
	if b.file == nil || b.file.check() != nil {
		return // it is no file, or has failed before and said so
	}
	f, err := safefile.OpenOwn(b.place, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // the log has failed before, and said so
	}
	if debug.SetCrashOutput(f, debug.CrashOptions{}) == nil { // it keeps a copy of the descriptor
		b.trace, _ = f.Stat()
	}
	_ = f.Close()
}
