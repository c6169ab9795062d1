package logview

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"runtimed/internal/failure"
)

// Journal is the log of a daemon that systemd runs.
type Journal struct {
	Matches []string  // arguments of journalctl that select the daemon's entries
	cursor  string    // of the last entry read
	began   time.Time // when Last looked, in case there was none
}

// Last reads from the end, because journalctl cannot filter by a level that is in the entry's text alone.
func (j *Journal) Last(ctx context.Context, n int, filter Filter) ([][]byte, error) {
	j.began = time.Now()
	args := []string{"--reverse"}
	if !filter.Since.IsZero() {
		args = append(args, since(filter.Since))
	}
	if filter.Least == 0 {
		args = append(args, "--lines="+strconv.Itoa(max(n, 1)))
	}
	var lines [][]byte
	err := j.read(ctx, args, func(line []byte, cursor string) bool {
		if j.cursor == "" {
			j.cursor = cursor
		}
		if len(lines) < n && filter.keeps(line) {
			lines = append(lines, line)
		}
		return len(lines) < n
	})
	slices.Reverse(lines)
	return lines, err
}

// Follow prints what comes after what Last read.
func (j *Journal) Follow(ctx context.Context, out *Printer) error {
	from := since(j.began)
	if j.cursor != "" {
		from = "--after-cursor=" + j.cursor
	}
	return j.read(ctx, []string{"--follow", "--no-tail", from}, func(line []byte, _ string) bool {
		if out.Filter.keeps(line) {
			out.Print(line)
		}
		return out.err == nil
	})
}

func since(t time.Time) string { return "--since=@" + strconv.FormatInt(t.Unix(), 10) }

// read calls take with each entry until take returns false, or ctx is done.
func (j *Journal) read(ctx context.Context, args []string, take func(line []byte, cursor string) bool) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	args = slices.Concat([]string{"--output=json", "--all", "--quiet", "--no-pager"}, args, j.Matches)
	cmd := exec.CommandContext(reading, "journalctl", args...)
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return failure.New("reading the journal: %v", err).
			WithHint("see for yourself with: journalctl --user-unit=runtimed.service")
	}
	in := bufio.NewReader(pipe)
	for more := true; more && err == nil; {
		var raw []byte
		raw, err = in.ReadBytes('\n')
		if line, cursor, ok := journalLine(raw); ok {
			if more = take(line, cursor); !more {
				cancel()
			}
		}
	}
	if err := cmd.Wait(); err != nil && reading.Err() == nil {
		f := failure.New("reading the journal: %v", err)
		f.Output = stderr.String()
		return f
	}
	return nil
}

// journalLine is an entry as a line of the log file: the daemon has put that line into the entry. Others write about
// the daemon too, such as systemd and the Go runtime in a crash.
func journalLine(raw []byte) (line []byte, cursor string, ok bool) {
	var e struct {
		Entry      string          `json:"RUNTIMED_ENTRY"` // rpc.JournalEntry
		Message    json.RawMessage `json:"MESSAGE"`
		Priority   string          `json:"PRIORITY"`
		Micros     int64           `json:"__REALTIME_TIMESTAMP,string"`
		Cursor     string          `json:"__CURSOR"`
		Identifier string          `json:"SYSLOG_IDENTIFIER"`
	}
	if json.Unmarshal(raw, &e) != nil || e.Micros == 0 {
		return nil, "", false
	}
	if e.Entry != "" {
		return []byte(e.Entry), e.Cursor, true
	}
	other := entry{Level: levelOf(e.Priority), Msg: messageText(e.Message)}
	other.Time = time.UnixMicro(e.Micros).Format("2006-01-02T15:04:05.000Z07:00")
	if e.Identifier == "systemd" {
		other.Logger = e.Identifier
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(other) // strings always encode
	return bytes.TrimSpace(b.Bytes()), e.Cursor, true
}

// messageText reads a message, which is a list of bytes if it is not UTF-8.
func messageText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var numbers []uint16
	_ = json.Unmarshal(raw, &numbers) // anything else is no text
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func levelOf(priority string) string {
	switch priority {
	case "0", "1", "2", "3":
		return "error"
	case "4":
		return "warn"
	case "7":
		return "debug"
	}
	return "info"
}
