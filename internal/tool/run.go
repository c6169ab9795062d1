package tool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode"

	"runtimed/internal/proc"
	"runtimed/internal/redact"
)

const (
	OutputTail = 4 << 10 // bytes of a tool's last lines that errors show
	tailKept   = 2 * OutputTail
	outputHead = 8 << 20 // bytes of a tool's answer that are kept
	childGrace = 2 * time.Second
)

// Command is one run of a tool.
type Command struct {
	Argv  []string
	Dir   string // the working directory: empty, and ours
	Env   []string
	Mark  string       // the environment it builds, if any
	Input []byte       // its stdin; nil: end of input at once
	Line  func([]byte) // gets each line of its stdout as it comes
}

// Result is what came of a child.
type Result struct {
	Stdout []byte
	Output string // the last lines of both streams, secrets taken out
}

type urgentKey struct{}

// Urgently has children run at the usual priority, since somebody waits.
func Urgently(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent reports whether children run at the usual priority.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

// Run runs a child to its end in a group of its own, at low priority unless ctx says that it is urgent. Whatever it
// started in that group is ended with it, also what holds its output open or ignores SIGTERM. The error is that of
// os/exec, or of ctx where that ended it.
func Run(ctx context.Context, c Command) (Result, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = c.Env
	if c.Mark != "" {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], proc.MarkEnv+"="+c.Mark)
	}
	var tail Tail
	head := head{also: &tail}
	if c.Line != nil {
		head.also = &lines{each: c.Line, also: &tail}
	}
	if c.Input != nil {
		cmd.Stdin = bytes.NewReader(c.Input)
	}
	cmd.Stdout, cmd.Stderr = &head, &tail
	cmd.WaitDelay = childGrace
	group, err := newGroup(cmd, !IsUrgent(ctx))
	if err != nil {
		return Result{}, err
	}
	defer group.end()
	cmd.Cancel = group.ask
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	err = cmp.Or(group.begin(), cmd.Wait()) // in this order, and both
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well, and something it started held its output open
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return Result{head.b.Bytes(), tail.String()}, err
}

// head keeps the beginning of what is written to it. One goroutine writes.
type head struct {
	b    bytes.Buffer
	also io.Writer
}

func (h *head) Write(p []byte) (int, error) {
	h.b.Write(p[:min(len(p), outputHead-h.b.Len())])
	return h.also.Write(p)
}

// lines hands on what is written to it line by line, without what passes for none. One goroutine writes.
type lines struct {
	each func([]byte)
	also io.Writer
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			break
		}
		l.rest = rest
		l.each(line)
	}
	if len(l.rest) > outputHead {
		l.rest = nil
	}
	return l.also.Write(p)
}

// Tail keeps the end of what is written to it.
type Tail struct {
	mu  sync.Mutex // both streams of a child are written here
	b   []byte
	cut bool // there was more before
}

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-tailKept):]...)
	if over := len(t.b) - tailKept; over > 0 || len(p) > tailKept {
		t.b, t.cut = t.b[max(0, over):], true
	}
	return len(p), nil
}

// String is the text as it may be shown: its last lines, valid UTF-8, without control characters and without the
// passwords of URLs.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.b
	if t.cut { // what may be the second half of a URL goes: its password would not be known as one
		b = b[bytes.IndexAny(b, "\n ")+1:]
	}
	text := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, redact.Text(string(b)))
	return strings.TrimSpace(strings.ToValidUTF8(text[max(0, len(text)-OutputTail):], ""))
}
