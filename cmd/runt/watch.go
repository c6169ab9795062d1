package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

type poolWatchCmd struct{}

func (poolWatchCmd) Run(a *app) error {
	changes := make(chan json.RawMessage, 64)
	gone := make(chan struct{})
	defer close(gone)
	c, info, err := a.Connect(func(method string, params json.RawMessage) {
		if method != rpc.NotifyPoolChanged {
			return
		}
		select {
		case changes <- bytes.Clone(params):
		case <-gone:
		}
	})
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := a.Call(c, rpc.MethodWatch, rpc.None{}, 0)
	if err != nil {
		return err
	}
	var now rpc.StatusResult
	if err := daemon.Decode(raw, &now); err != nil {
		return err
	}
	show := a.shower()
	if a.json {
		a.printJSON(raw)
	} else {
		show(now.Pools)
	}
	take := func(params json.RawMessage) {
		var raw struct{ Pool json.RawMessage }
		var change rpc.PoolChanged
		switch {
		case json.Unmarshal(params, &raw) != nil || json.Unmarshal(params, &change) != nil:
		case a.json && change.Gone:
			a.printJSON(fmt.Appendf(nil, `{"name":%q,"gone":true}`, change.Pool.Name))
		case a.json:
			a.printJSON(raw.Pool)
		default:
			now.Pools = changed(now.Pools, change)
			if len(changes) == 0 { // else the next is on its way
				show(now.Pools)
			}
		}
	}
	for a.stdout.err == nil {
		select {
		case params := <-changes:
			take(params)
		case <-c.Done():
			for len(changes) > 0 {
				take(<-changes)
			}
			return failure.New("the daemon (pid %d) has stopped", info.PID).WithHint("%s", a.HowToStart())
		case <-a.Ctx.Done():
			return errEnough
		}
	}
	return nil
}

func changed(pools []rpc.PoolStatus, change rpc.PoolChanged) []rpc.PoolStatus {
	i := slices.IndexFunc(pools, func(p rpc.PoolStatus) bool { return p.Name == change.Pool.Name })
	switch {
	case change.Gone && i >= 0:
		return slices.Delete(pools, i, i+1)
	case change.Gone:
	case i >= 0:
		pools[i] = change.Pool
	default:
		pools = append(pools, change.Pool)
	}
	return pools
}

// shower prints one status below the other, or on a terminal in place of the last.
func (a *app) shower() func([]rpc.PoolStatus) {
	if !a.redraws(a.stdout.w) {
		first := true
		return func(pools []rpc.PoolStatus) {
			var b bytes.Buffer
			if !first {
				b.WriteString("\n")
			}
			first = false
			writeStatus(&b, pools, false)
			a.stdout.Write(b.Bytes())
		}
	}
	lines := 0
	return func(pools []rpc.PoolStatus) {
		width, height := terminalSize(a.stdout.w)
		var text bytes.Buffer
		writeStatus(&text, pools, false)
		all := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		all = all[:min(len(all), height-1)] // what has scrolled away could not be drawn again
		var b bytes.Buffer
		if lines > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", lines)
		}
		b.WriteString("\r\x1b[J")
		for _, line := range all {
			b.WriteString(clipped(line, width) + "\n")
		}
		lines = len(all)
		a.stdout.Write(b.Bytes())
	}
}

// progress is one line on stderr that is rewritten while somebody waits. A nil one is silent.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	shown bool
	ended bool
}

func (a *app) progress() *progress {
	if !a.redraws(a.stderr) {
		return nil
	}
	return &progress{w: a.stderr}
}

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
	width, _ := terminalSize(p.w)
	fmt.Fprint(p.w, "\r\x1b[K"+clipped(redact.Printable(text), width))
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

func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 1 && height > 2 {
			return width, height
		}
	}
	return 80, 24
}

// clipped leaves the last column free: some terminals go on to the next line.
func clipped(line string, width int) string {
	if r := []rune(line); len(r) >= width {
		return string(r[:width-1])
	}
	return line
}
