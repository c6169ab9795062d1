// Package redactzap takes secrets out of what zap logs.
package redactzap

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"runtimed/internal/redact"
)

type core struct {
	zapcore.Core
	terminal bool
}

// New takes secrets out of what to gets: an error may quote the configuration, a list may be a command line. On a
// terminal, where people read what is written as it is, characters that deceive go too.
func New(to zapcore.Core, terminal bool) zapcore.Core { return core{to, terminal} }

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.Core.With(withoutSecrets(fields)), c.terminal}
}

func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message, e.Stack = redact.Text(e.Message), redact.Text(e.Stack)
	if c.terminal {
		e.Message = redact.PrintableLines(e.Message)
	}
	return c.Core.Write(e, withoutSecrets(fields))
}

func withoutSecrets(fields []zapcore.Field) []zapcore.Field {
	shown := make([]zapcore.Field, 0, len(fields))
	for _, f := range fields {
		switch f.Type {
		case zapcore.StringType:
			shown = append(shown, zap.String(f.Key, redact.Value(f.Key, f.String)))
		case zapcore.NamespaceType, zapcore.SkipType, zapcore.BoolType, zapcore.DurationType, zapcore.TimeType,
			zapcore.TimeFullType:
			shown = append(shown, f)
		default:
			shown = append(shown, encoded(f)...)
		}
	}
	return shown
}

// encoded are the members that a field becomes, whatever its type is: lists, objects and errors are known by their JSON
// alone. A number stays itself unless its name is that of a secret.
func encoded(f zapcore.Field) []zapcore.Field {
	if f.Type != zapcore.InlineMarshalerType && f.Interface == nil {
		if redact.IsSecret(f.Key) {
			return []zapcore.Field{zap.String(f.Key, redact.Mask)}
		}
		return []zapcore.Field{f}
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey, cfg.LevelKey, cfg.NameKey, cfg.CallerKey, cfg.MessageKey, cfg.StacktraceKey = "", "", "", "", "", ""
	cfg.EncodeDuration, cfg.EncodeTime = zapcore.StringDurationEncoder, zapcore.RFC3339TimeEncoder
	buf, err := zapcore.NewJSONEncoder(cfg).EncodeEntry(zapcore.Entry{}, []zapcore.Field{f})
	if err != nil {
		return []zapcore.Field{zap.String(f.Key, fmt.Sprintf("it cannot be written: %T", f.Interface))}
	}
	defer buf.Free()
	clean, _ := redact.JSON(buf.Bytes(), false)
	var members []zapcore.Field
	dec := json.NewDecoder(bytes.NewReader(clean))
	_, _ = dec.Token()
	for dec.More() {
		var value json.RawMessage
		name, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			break
		}
		if f.Type == zapcore.ErrorType && name == f.Key+"Verbose" {
			continue // the same at length, with a trace
		}
		var text string
		if json.Unmarshal(value, &text) == nil {
			members = append(members, zap.String(fmt.Sprint(name), text))
		} else {
			members = append(members, zap.Reflect(fmt.Sprint(name), value))
		}
	}
	return members
}
