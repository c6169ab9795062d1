package main

import (
	"io"
	"os"
	"runtime/debug"

	"github.com/DeRuina/timberjack"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// The log file is at most logSize MB, and logKept older ones stay beside it.
const (
	logSize = 5
	logKept = 2
)

// newLog writes for people on a terminal, and else JSON lines into the rotated file. The file is opened by the first line.
func newLog(at paths, level string, stderr *os.File) (*zap.Logger, zap.AtomicLevel, error) {
	lvl, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, lvl, err
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.RFC3339TimeEncoder
	cfg.EncodeDuration = zapcore.StringDurationEncoder
	var core zapcore.Core
	if term.IsTerminal(int(stderr.Fd())) {
		cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05")
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		if os.Getenv("NO_COLOR") == "" {
			cfg.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		core = zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(stderr), lvl)
	} else {
		cfg.TimeKey = "time"
		core = zapcore.NewCore(zapcore.NewJSONEncoder(cfg), zapcore.AddSync(logFile(at)), lvl)
	}
	return zap.New(core), lvl, nil
}

func logFile(at paths) io.Writer {
	return &timberjack.Logger{Filename: at.log(), MaxSize: logSize, MaxBackups: logKept, FileMode: 0o600}
}

// crashesTo has the trace of a crash written to the log file too: nobody may be reading stderr.
func crashesTo(path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // the log has failed before, and said so
	}
	_ = debug.SetCrashOutput(f, debug.CrashOptions{}) // keeps a copy of the descriptor
	_ = f.Close()
}
