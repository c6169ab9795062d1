package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

type stringer struct{}

func (stringer) String() string { return "password=geheim" }

func TestEveryFieldOfTheLogIsWithoutSecrets(t *testing.T) {
	var out strings.Builder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out),
		zapcore.DebugLevel)
	log := zap.New(discreet{Core: core}).With(zap.String("a_token", "geheim"),
		zap.Strings("with", []string{"https://me:geheim@h"}))
	const secret = "https://me:geheim@h/"
	log.Error("at "+secret,
		zap.Error(errors.New(secret)), zap.NamedError("cause", errors.Join(errors.New(secret),
			errors.New("X_KEY=geheim"))),
		zap.Errors("errs", []error{errors.New(secret)}), zap.Strings("argv", []string{"uv", "--password", "geheim",
			secret}),
		zap.Stringer("stringer", stringer{}), zap.Stringers("stringers", []stringer{{}}),
		zap.ByteString("bytes", []byte(secret)),
		zap.ByteStrings("byteses", [][]byte{[]byte(secret)}), zap.Any("any", map[string]any{"auth_key": "geheim",
			"in": []any{secret, map[string]int{"pin_key": 4711}}}),
		zap.Reflect("reflect", struct{ Password, URL string }{"geheim", secret}),
		zap.Dict("dict", zap.String("x_secret", "geheim")),
		zap.Inline(zapcore.ObjectMarshalerFunc(func(o zapcore.ObjectEncoder) error {
			o.AddString("inline",
				secret)
			return nil
		})),
		zap.Object("object", zapcore.ObjectMarshalerFunc(func(o zapcore.ObjectEncoder) error {
			o.AddString("o_passwd",
				"geheim")
			return nil
		})),
		zap.Int("n", 3), zap.Duration("took", time.Second), zap.Bool("b", true), zap.Int("a_password", 4711),
		zap.Error((*os.PathError)(nil)),
		zap.Namespace("deeper"), zap.String("path", "/home/x"), zap.Strings("pools", []string{"uv"}),
		zap.Any("none", nil),
	)
	line := out.String()
	if strings.Contains(line, "geheim") || strings.Contains(line, "4711") || !json.Valid([]byte(line)) {
		t.Error(line)
	}
	for _, want := range []string{
		`"n":3,"took":1,"b":true`, `"deeper":{"path":"/home/x","pools":["uv"],"none":null}`,
		`"argv":["uv","--password","***","https://***@h/"]`,
		`"error":"https://***@h/"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("it lacks %s: %s", want, line)
		}
	}
}

func TestTheLogStaysUnderItsCapWhileItIsWritten(t *testing.T) {
	t.Parallel()
	at := paths{folder: t.TempDir()}
	w := newLogFile(at, io.Discard)
	line := []byte(strings.Repeat("x", 9999) + "\n")
	for range 8 * logSize * 100 { // eight times what one file holds
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var total int64
		entries, err := os.ReadDir(at.folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				total += info.Size()
			}
		}
		if total <= (logKept+1)*logSize<<20 && len(entries) <= logKept+1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes in %d files", total, len(entries))
		}
	}
}
