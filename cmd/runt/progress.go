package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"runtimed/internal/redact"
	"runtimed/rpc"
)

// progress is one line on stderr that is rewritten while somebody waits. A nil one is silent.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	shown bool
	ended bool
}

// progress is silent unless a person looks at stderr.
func (a *app) progress() *progress {
	if !a.redraws(a.stderr) {
		return nil
	}
	return &progress{w: a.stderr}
}

// redraws tells whether w is a terminal that can move its cursor.
func (a *app) redraws(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.Env("TERM") != "dumb"
}

func (p *progress) notify(method string, params json.RawMessage) {
	var s rpc.Progress
	if p == nil || method != rpc.NotifyProgress || json.Unmarshal(params, &s) != nil {
		return
	}
	text := s.Stage
	if s.Message != "" {
		text += ": " + s.Message
	}
	if s.Fraction != nil {
		text += fmt.Sprintf(" (%.0f%%)", *s.Fraction*100)
	}
	p.say(text)
}

func (p *progress) say(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.shown = true
	text = redact.Printable(text)
	if width := terminalWidth(p.w); len([]rune(text)) >= width {
		text = string([]rune(text)[:width-1])
	}
	fmt.Fprint(p.w, "\r\x1b[K"+text)
}

// end takes the line away; what comes later is not shown.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown && !p.ended {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.ended = true
}

func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 1 {
			return width
		}
	}
	return 80
}
