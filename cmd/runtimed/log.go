package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/DeRuina/timberjack"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"runtimed/config"
	"runtimed/internal/redact/redactzap"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// The log file has at most logSize MB, and logKept older ones are kept.
const (
	logSize = 5
	logKept = 2
)

// logbook is the log and where it goes.
type logbook struct {
	*zap.Logger

	ours  bool // the lock beside the log is
	level zap.AtomicLevel
	place string      // the file, or rpc.LogJournal; empty: a terminal
	file  *logFile    // nil unless it is a file
	trace fs.FileInfo // of a crash
}

// openLog logs to systemd's journal where that reads our stderr, to a terminal, or else as JSON lines to the rotated
// file, which the first line opens.
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

// begin writes the first line of a run. Nothing may be written before the lock beside the log is held.
func (b *logbook) begin(s *settings, at statedir.Paths, a about) {
	b.ours = true
	b.Info("starting", zap.String("version", rpc.Version()), zap.Int("pid", os.Getpid()),
		zap.String("config", s.Load().Path),
		zap.String("state", at.State), zap.String("started_by", a.startedBy), zap.String("program", a.program.path))
	b.warnOf(s.Load())
}

// warnOf tells what of the configuration does not count as it was written.
func (b *logbook) warnOf(cfg *config.Config) {
	for _, warning := range cfg.Warnings {
		b.Warn("configuration", zap.String("warning", warning))
	}
}

// explain says why the state directory is not at the usual place.
func (b *logbook) explain(at statedir.Paths) {
	if usual, err := rpc.UsualDir(runtime.GOOS, os.Getenv); err == nil && at.Own != usual && at.Own != "" {
		b.Info("the usual state directory is on a network file system, which other machines see too",
			zap.String("dir", usual), zap.String("type", statedir.NetworkOf(usual, "")),
			zap.String("in_its_place", at.Own), zap.Bool("left_there", safefile.Exists(usual)))
	}
}

// logFile guards timberjack, which opens whatever is at its path, follows links, and waits on named pipes.
type logFile struct {
	rotated *timberjack.Logger
	shared  bool // the folder may hold files of the user's
	stderr  io.Writer
	told    atomic.Bool // that it cannot be written, on stderr
}

func newLogFile(at statedir.Paths, stderr io.Writer) *logFile {
	rotated := &timberjack.Logger{Filename: at.Log(), MaxSize: logSize, MaxBackups: logKept, FileMode: 0o600}
	return &logFile{rotated: rotated, shared: at.Shared(), stderr: stderr}
}

// check reports why the log must not be written to its path.
func (l *logFile) check() error {
	path := l.rotated.Filename
	if err := safefile.CheckOwn(path); err != nil {
		return err
	}
	if l.shared && safefile.Exists(path) && !statedir.IsLog(path) {
		return fmt.Errorf("%s is not a daemon's log, so it is left alone", path)
	}
	return nil
}

func (l *logFile) Write(line []byte) (int, error) {
	if err := l.check(); err != nil {
		if !l.told.Swap(true) {
			fail(l.stderr, fmt.Errorf("nothing can be logged: %w", err),
				"move it away; the log begins anew within seconds")
		}
		return len(line), nil // it was reported
	}
	l.told.Store(false)
	n, err := l.rotated.Write(line)
	if err != nil && l.append(line) == nil {
		return len(line), nil
	}
	return n, err
}

// append writes to a log that cannot be rotated, up to twice its size. On Windows, a program that reads it may keep
// others from renaming it.
func (l *logFile) append(line []byte) error {
	f, err := safefile.OpenOwn(l.rotated.Filename, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size()+int64(len(line)) > 2*logSize<<20 {
		err = errors.New("the log is full")
	}
	if err == nil {
		_, err = f.Write(line)
	}
	return errors.Join(err, f.Close())
}

// restore makes a deleted log again, and follows a rotation.
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

// catchCrashes has crashes traced into the log file too, since nobody may read stderr.
func (b *logbook) catchCrashes() {
	if b.file == nil || b.file.check() != nil {
		return // no file, or it has failed before and was reported
	}
	f, err := safefile.OpenOwn(b.place, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // reported before
	}
	if debug.SetCrashOutput(f, debug.CrashOptions{}) == nil { // it duplicates the descriptor
		b.trace, _ = f.Stat()
	}
	_ = f.Close()
}
