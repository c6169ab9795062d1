package logview

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

// told is a line as the daemon writes it, at some minute past three.
func told(minute int, level, msg string) string {
	return fmt.Sprintf(`{"level":%q,"time":"2026-01-02T03:%02d:00Z","msg":%q}`, level, minute, msg) + "\n"
}

func TestTheLastLinesAreTheLast(t *testing.T) {
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
		{"a\nb", 1, "b\n"},
		{"\n\n\n", 2, "\n\n"},
		{long.String(), 2, "line 19998\nline 19999\n"},
		{long.String(), 20_000, long.String()},
		{long.String() + wide, 2, "line 19999\n" + wide},
		{wide + wide, 1, wide},
	} {
		lines, ended, err := lastLines(strings.NewReader(tt.text), tt.n, Filter{})
		got := ""
		for _, line := range lines {
			got += string(line) + "\n"
		}
		if err != nil || got != tt.want {
			t.Errorf("%.20q, %d lines: got %.40q, %v", tt.text, tt.n, got, err)
		}
		if want := strings.LastIndexByte(tt.text, '\n') + 1; ended != int64(want) {
			t.Errorf("%.20q ended at %d, want %d", tt.text, ended, want)
		}
	}
}

func TestLinesAreCountedAfterTheyWereFilteredAcrossTheOlderFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		testkit.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("runtimed-2026-01-02T03-05-00.000-size.log", told(1, "warn", "one")+told(2, "info", "two"))
	write("runtimed-2026-01-02T03-10-00.000-size.log",
		told(6, "error", "three")+"panic: four\n"+told(7, "debug", "five"))
	write("runtimed.log", told(11, "warn", "six")+told(12, "info", "seven")+told(13, "dpanic", "eight"))
	write("other.log", told(14, "error", "not ours"))
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	for _, tt := range []struct {
		n      int
		filter Filter
		want   string
	}{
		{2, Filter{}, "seven eight"},
		{5, Filter{}, "four five six seven eight"},
		{99, Filter{}, "one two three four five six seven eight"},
		{2, Filter{Least: Levels["warn"]}, "six eight"},
		{4, Filter{Least: Levels["warn"]}, "three four six eight"},
		{99, Filter{Least: Levels["error"]}, "three four eight"},
		{99, Filter{Since: at(6)}, "three four five six seven eight"},
		{99, Filter{Since: at(7), Least: Levels["info"]}, "six seven eight"},
		{99, Filter{Since: at(20)}, ""},
	} {
		src := &File{Path: filepath.Join(dir, "runtimed.log")}
		lines, err := src.Last(t.Context(), tt.n, tt.filter)
		testkit.Check(t, src.f.Close())
		var got []string
		for _, line := range lines {
			words := strings.FieldsFunc(string(line), func(r rune) bool { return r == '"' || r == ' ' || r == '}' })
			got = append(got, words[len(words)-1])
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("the last %d of %+v are %q, want %q: %v", tt.n, tt.filter, got, tt.want, err)
		}
	}
}

func TestALogThatIsFollowedIsReadOnWhenItIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runtimed.log")
	add := func(text string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		testkit.Check(t, err)
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	add("first\nhal")
	src := &File{Path: path}
	defer func() { src.f.Close() }()
	lines, err := src.Last(t.Context(), 1, Filter{})
	if err != nil || len(lines) != 1 || string(lines[0]) != "hal" {
		t.Fatalf("got %q, %v", lines, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out := &watched{want: "last\n", seen: stop}
	go func() {
		add("f\n")
		if err := os.Rename(path, strings.TrimSuffix(path, ".log")+"-2026-size.log"); err != nil {
			t.Error(err)
		}
		add(told(1, "info", "unimportant") + "torn")
		time.Sleep(2 * followEvery)
		// As Windows keeps the name of an open file that is removed on some file systems, and Wine does on all.
		away := path + ".away"
		if err := errors.Join(os.Rename(path, away), os.Remove(away)); err != nil {
			t.Error(err)
		}
		add("last\n")
	}()
	time.AfterFunc(10*time.Second, stop)
	if err := src.Follow(ctx, &Printer{W: out, JSON: true, Filter: Filter{Least: Levels["warn"]}}); err != nil {
		t.Error(err)
	}
	if got := out.String(); got != "half\ntorn\nlast\n" {
		t.Errorf("got %q", got)
	}
}

// watched ends something when it has seen enough.
type watched struct {
	bytes.Buffer
	want string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.want) {
		w.seen()
	}
	return n, err
}

func TestLogText(t *testing.T) {
	var out bytes.Buffer
	text := &Printer{W: &out}
	for _, part := range []string{
		`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"listen`,
		"ing\",\"socket\":\"/s\",\"pid\":7,\"note\":\"a b\",\"none\":\"\"}\n",
		"panic: oh no\n{\"level\":\"warn\",\"msg\":\"\\u001b[2J\"}\n", `{"level":"err`,
	} {
		if _, err := text.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local().Format("2006-01-02 15:04:05")
	want := at + " INFO  listening socket=/s pid=7 note=\"a b\" none=\"\"\npanic: oh no\n WARN  \\x1b[2J\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestAnEntryOfTheJournalIsALineLikeThoseOfTheFile(t *testing.T) {
	const at = `"time":"2026-01-02T03:04:05.678Z"`
	for _, tt := range []struct{ members, want string }{
		{`"MESSAGE":"listening n=3","RUNTIMED_ENTRY":"{\"level\":\"info\",\"msg\":\"listening\",\"n\":3}"`,
			`{"level":"info","msg":"listening","n":3}`},
		{`"MESSAGE":"set a=b <there>","PRIORITY":"7"`, `{"level":"debug",` + at + `,"msg":"set a=b <there>"}`},
		{`"MESSAGE":"Main process exited, code=killed status=9","PRIORITY":"5","SYSLOG_IDENTIFIER":"systemd"`,
			`{"level":"info",` + at + `,"logger":"systemd","msg":"Main process exited, code=killed status=9"}`},
		{`"MESSAGE":"runtimed: error: no place","PRIORITY":"3"`, `{"level":"error",` + at +
			`,"msg":"runtimed: error: no place"}`},
		{`"MESSAGE":[104,255,105]`, `{"level":"info",` + at + `,"msg":"h�i"}`},
		{`"MESSAGE":null`, `{"level":"info",` + at + `,"msg":""}`},
	} {
		zone := time.Local
		time.Local = time.UTC
		line, cursor, ok := journalLine(
			[]byte(`{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1767323045678000",` + tt.members + `}`))
		time.Local = zone
		if !ok || cursor != "c" || string(line) != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.members, line, tt.want)
		}
	}
	if _, _, ok := journalLine([]byte("-- No entries --")); ok {
		t.Error("what is no entry is taken for one")
	}
}
