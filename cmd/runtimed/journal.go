package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// priority is how a line for the journal begins that has a level.
func priority(l zapcore.Level) string {
	switch {
	case l <= zapcore.DebugLevel:
		return "<7>"
	case l == zapcore.InfoLevel:
		return "<6>"
	case l == zapcore.WarnLevel:
		return "<4>"
	}
	return "<3>"
}

var lines = buffer.NewPool()

// lineEncoder writes "<priority>logger: message name=value…" for the journal, which has the time already.
type lineEncoder struct{ zapcore.Encoder } // of the fields alone, as one JSON object

func newLineEncoder(cfg zapcore.EncoderConfig) zapcore.Encoder {
	cfg.TimeKey, cfg.LevelKey, cfg.NameKey, cfg.CallerKey, cfg.MessageKey, cfg.StacktraceKey = "", "", "", "", "", ""
	return lineEncoder{zapcore.NewJSONEncoder(cfg)}
}

// Clone is for what With adds to.
func (l lineEncoder) Clone() zapcore.Encoder { return lineEncoder{l.Encoder.Clone()} }

// EncodeEntry is one line.
func (l lineEncoder) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	object, err := l.Encoder.EncodeEntry(e, fields)
	if err != nil {
		return nil, err
	}
	defer object.Free()
	line := lines.Get()
	line.AppendString(priority(e.Level))
	if e.LoggerName != "" {
		line.AppendString(e.LoggerName + ": ")
	}
	line.AppendString(strings.ReplaceAll(e.Message, "\n", " "))
	dec := json.NewDecoder(bytes.NewReader(object.Bytes()))
	_, _ = dec.Token()
	for dec.More() { // in their order, which a map would lose
		var raw json.RawMessage
		name, err := dec.Token()
		if err != nil || dec.Decode(&raw) != nil {
			break
		}
		value := string(raw)
		if text := strings.Trim(value, `"`); len(text) == len(value)-2 && text != "" && !strings.ContainsAny(text, `\ =`) {
			value = text // a word needs no quotes
		}
		fmt.Fprintf(line, " %v=%s", name, value)
	}
	line.AppendByte('\n')
	return line, nil
}

// complaints is stderr for what cannot be logged. Under the journal each line of it is an error.
func complaints(stderr io.Writer) io.Writer {
	if isJournal(os.Stderr) {
		return asErrors{stderr}
	}
	return stderr
}

type asErrors struct{ io.Writer }

func (m asErrors) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if _, err := m.Writer.Write(append([]byte(priority(zapcore.ErrorLevel)), line...)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
