package redactzap

import (
	"encoding/json"
	"errors"
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
	log := zap.New(New(core, false)).With(zap.String("a_token", "geheim"),
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
