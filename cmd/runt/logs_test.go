package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTail(t *testing.T) {
	var long strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	wide := strings.Repeat("x", 100_000) + "\n"
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 5, ""},
		{"a\nb\n", 0, ""},
		{"a\nb\n", 1, "b\n"},
		{"a\nb\n", 2, "a\nb\n"},
		{"a\nb\n", 9, "a\nb\n"},
		{"a\nb", 1, "b"},
		{"\n\n\n", 2, "\n\n"},
		{long.String(), 2, "line 19998\nline 19999\n"},
		{long.String(), 20_000, long.String()},
		{long.String() + wide, 2, "line 19999\n" + wide},
		{wide + wide, 1, wide},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tail(&out, f, tt.n); err != nil || out.String() != tt.want {
			t.Errorf("%.20q, %d lines: got %.40q, %v", tt.text, tt.n, out.String(), err)
		}
		f.Close()
	}
}

func TestLogText(t *testing.T) {
	var out bytes.Buffer
	text := &logText{w: &out}
	for _, part := range []string{
		`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"listen`, "ing\",\"socket\":\"/s\",\"pid\":7,\"note\":\"a b\",\"none\":\"\"}\n",
		"panic: oh no\n{\"level\":\"warn\",\"msg\":\"\\u001b[2J\"}\n", `{"level":"err`,
	} {
		if _, err := text.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	text.flush()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local().Format("2006-01-02 15:04:05")
	want := at + " INFO  listening socket=/s pid=7 note=\"a b\" none=\"\"\npanic: oh no\n WARN  [2J\n{\"level\":\"err\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
