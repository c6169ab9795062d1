package main

import (
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"

	"runtimed/rpc"
)

// journalCore sends each entry to systemd's journal as a sentence for people and as JSON for programs.
type journalCore struct {
	zapcore.LevelEnabler
	sentence, object zapcore.Encoder
	fields           []zapcore.Field
}

// newJournalCore returns nil unless the journal reads our stderr: children inherit the variable.
func newJournalCore(cfg zapcore.EncoderConfig, level zapcore.LevelEnabler) zapcore.Core {
	if ours, err := journal.StderrIsJournalStream(); !ours || err != nil || !journal.Enabled() {
		return nil
	}
	plain := cfg
	plain.TimeKey, plain.LevelKey, plain.CallerKey, plain.StacktraceKey, plain.ConsoleSeparator = "", "", "", "", " "
	plain.EncodeName = func(name string, to zapcore.PrimitiveArrayEncoder) { to.AppendString(name + ":") }
	return journalCore{level, zapcore.NewConsoleEncoder(plain), zapcore.NewJSONEncoder(cfg), nil}
}

func (c journalCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = slices.Concat(c.fields, fields)
	return c
}

func (c journalCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c journalCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	fields = slices.Concat(c.fields, fields)
	sentence, err := c.sentence.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	defer sentence.Free()
	object, err := c.object.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	defer object.Free()
	return journal.Send(strings.TrimSpace(sentence.String()), priority(e.Level), map[string]string{
		"SYSLOG_IDENTIFIER": rpc.Name, rpc.JournalEntry: strings.TrimSpace(object.String()),
	})
}

func (c journalCore) Sync() error { return nil }

func priority(l zapcore.Level) journal.Priority {
	switch {
	case l <= zapcore.DebugLevel:
		return journal.PriDebug
	case l == zapcore.InfoLevel:
		return journal.PriInfo
	case l == zapcore.WarnLevel:
		return journal.PriWarning
	}
	return journal.PriErr
}
