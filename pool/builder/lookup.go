package builder

import (
	"context"
	"sync"
)

// Turns let one build at a time do the work that builds share.
type Turns struct {
	mu   sync.Mutex
	held map[string]*turn // by what names the work
}

type turn struct {
	held chan struct{}
	want int // who holds it or waits for it
}

// Take waits for the turn at the work that key names. done lets the next one in.
func (t *Turns) Take(ctx context.Context, key string) (done func(), err error) {
	mine := t.enter(key)
	select {
	case mine.held <- struct{}{}:
		return func() { <-mine.held; t.leave(key, mine) }, nil
	case <-ctx.Done():
		t.leave(key, mine)
		return nil, ctx.Err()
	}
}

func (t *Turns) enter(key string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = map[string]*turn{}
	}
	if t.held[key] == nil {
		t.held[key] = &turn{held: make(chan struct{}, 1)}
	}
	t.held[key].want++
	return t.held[key]
}

func (t *Turns) leave(key string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.want--; mine.want == 0 {
		delete(t.held, key)
	}
}

// Lookup is the tool that builds use, which is looked for once for a configuration C. T is how a builder calls it.
type Lookup[C, T comparable] struct {
	turns Turns

	mu sync.Mutex // guards what follows
	looked[C, T]
}

// looked is what is known of a tool.
type looked[C, T comparable] struct {
	cfg   C
	found T
	tool  Tool  // found, as status shows it; without a name: not looked for yet
	looks int   // how often it was looked for to the end
	err   error // of the last time
}

// Configure sets the configuration of later builds. If it changed, the tool is looked for again.
func (l *Lookup[C, T]) Configure(cfg C) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if changed = cfg != l.cfg; changed {
		l.cfg, l.tool = cfg, Tool{}
	}
	return changed
}

// Config returns the configuration.
func (l *Lookup[C, T]) Config() C {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

// Tool returns the tool in use; false if none has been looked for or found.
func (l *Lookup[C, T]) Tool() (Tool, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tool, l.tool.Name != ""
}

// Forget has a tool that cannot be run any more looked for again.
func (l *Lookup[C, T]) Forget(gone T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found == gone {
		l.tool = Tool{}
	}
}

// Find returns the tool in use if it is usable, else what look finds. Calls that wait for the same look fail with it.
func (l *Lookup[C, T]) Find(ctx context.Context, usable func(T) bool, look func(C) (T, Tool, error)) (T, error) {
	var none T
	before := l.state()
	done, err := l.turns.Take(ctx, "")
	if err != nil {
		return none, err
	}
	defer done()
	now := l.state()
	switch {
	case now.tool.Name != "" && usable(now.found):
		return now.found, nil
	case now.looks > before.looks && now.cfg == before.cfg && now.err != nil:
		return none, now.err
	}
	found, tool, err := look(now.cfg)
	if ctx.Err() == nil {
		l.keep(now.cfg, found, tool, err)
	}
	return found, err
}

func (l *Lookup[C, T]) state() looked[C, T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.looked
}

// keep keeps the outcome of a look, unless another configuration came meanwhile.
func (l *Lookup[C, T]) keep(cfg C, found T, tool Tool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg != cfg {
		return
	}
	l.looks, l.err = l.looks+1, err
	if err == nil {
		l.found, l.tool = found, tool
	}
}
