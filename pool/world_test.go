package pool

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"runtimed/pool/builder"
)

// world is a Manager with all that is around it.
type world struct {
	*testing.T
	*Manager
	b    *fakeBuilder
	p    *fakeProcs
	cfg  Config
	logs *observer.ObservedLogs

	mu       sync.Mutex
	shortage string // of memory

	moved func(from, to State) // where set, called with each move of an environment
}

func spec(packages ...string) builder.Spec {
	return builder.Spec{Kind: builder.KindUV, Packages: packages}
}

// sized is a configuration with one pool of n environments.
func sized(n int) Config {
	return Config{Parallel: 2, BuildTimeout: 10 * time.Minute, LockAge: 24 * time.Hour, Pools: []PoolConfig{
		{Name: "uv", Size: n, Spec: spec("ipykernel"), MaxAge: 48 * time.Hour},
	}}
}

// inBubble runs f with a Manager whose clock is fake, and ends it.
func inBubble(t *testing.T, cfg Config, f func(*world)) {
	t.Helper()
	inBubbleWith(t, cfg, &fakeBuilder{}, f)
}

func inBubbleWith(t *testing.T, cfg Config, b *fakeBuilder, f func(*world)) {
	t.Helper()
	dir := t.TempDir()
	skipped := false
	synctest.Test(t, func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		cfg.Dir = dir
		w := &world{T: t, cfg: cfg, b: b, p: newProcs()}
		w.start()
		defer w.stop() // also where the test ends early: a bubble with goroutines left in it panics
		f(w)
	})
	if skipped {
		t.SkipNow()
	}
}

func (w *world) start() {
	w.Helper()
	w.make()
	w.Start()
}

func (w *world) make() {
	w.Helper()
	core, logs := observer.New(zap.InfoLevel)
	if w.moved != nil {
		core = zapcore.NewTee(core, moves{zap.DebugLevel, w.moved})
	}
	m, err := New(w.cfg, map[string]builder.Builder{builder.KindUV: w.b, builder.KindConda: w.b}, zap.New(core))
	if err != nil {
		w.Fatal(err)
	}
	m.procs = w.p.processes()
	m.short = func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.shortage
	}
	w.Manager, w.logs = m, logs
}

// set changes what is around the Manager.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// moves is a log that reads the moves of environments.
type moves struct {
	zapcore.LevelEnabler
	moved func(from, to State)
}

func (m moves) With([]zapcore.Field) zapcore.Core { return m }
func (m moves) Sync() error                       { return nil }

func (m moves) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message == "environment moves" {
		return c.AddCore(e, m)
	}
	return c
}

func (m moves) Write(_ zapcore.Entry, fields []zapcore.Field) error {
	at := map[string]string{}
	for _, f := range fields {
		at[f.Key] = f.String
	}
	m.moved(State(at["from"]), State(at["to"]))
	return nil
}

func (w *world) stop() {
	w.Helper()
	if err := w.Stop(context.Background()); err != nil {
		w.Error(err)
	}
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for _, s := range w.b.standbys { // they end with their lifeline
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
	}
}

// crash ends the Manager as a kill would, as far as the disk is concerned: builds stay half made, leases as they are.
func (w *world) crash() { w.stop() }

// settled waits until nothing happens any more without time going by.
func (w *world) settled() *world { synctest.Wait(); return w }

func (w *world) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (w *world) status() Status {
	w.Helper()
	list, err := w.Status(context.Background(), "uv")
	if err != nil {
		w.Fatal(err)
	}
	return list[0]
}

// want compares the counts of the pool "uv".
func (w *world) want(available, warming, leased, removing int) {
	w.Helper()
	s := w.settled().status()
	got, want := [4]int{s.Available, s.Warming, s.Leased, s.Removing}, [4]int{available, warming, leased, removing}
	if got != want {
		w.Errorf("available, warming, leased, removing are %v, not %v", got, want)
	}
}

func request(pid int, wait time.Duration) Request {
	return Request{Pool: "uv", Wait: wait, Owner: ownerNo(pid)}
}

// get acquires what must be there.
func (w *world) get(pid int) Acquired {
	w.Helper()
	got, err := w.Acquire(context.Background(), request(pid, time.Hour))
	if err != nil {
		w.Fatal(err)
	}
	return got
}

func (w *world) release(id string) {
	w.Helper()
	if err := w.Release(context.Background(), id); err != nil {
		w.Fatal(err)
	}
}

// answer is what came of an Acquire in the background.
type answer struct {
	Acquired
	err error
}

func (w *world) goGet(ctx context.Context, r Request) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		got, err := w.Acquire(ctx, r)
		c <- answer{got, err}
	}()
	return c
}

func (w *world) reconfigure(f func(*Config)) []string {
	w.Helper()
	w.cfg.Pools = slices.Clone(w.cfg.Pools)
	f(&w.cfg)
	changed, err := w.Reconfigure(context.Background(), w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	return changed
}

// folders are the environments on disk.
func (w *world) folders() []string {
	w.Helper()
	entries, err := os.ReadDir(w.store.Envs())
	if err != nil {
		w.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (w *world) ids(s State) []string {
	w.Helper()
	list, err := w.List(context.Background(), "", s)
	if err != nil {
		w.Fatal(err)
	}
	ids := []string{}
	for _, i := range list {
		ids = append(ids, i.ID)
	}
	return ids
}

// said are the log lines that contain text, with their fields.
func (w *world) said(text string) []string {
	var lines []string
	for _, e := range w.logs.All() {
		if line := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (w *world) derivedPools() (list []*pool) {
	w.view(func() { list = w.derivedLocked() })
	return list
}
