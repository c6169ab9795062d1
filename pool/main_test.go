package pool

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "30") // the command line may ask for more
	goleak.VerifyTestMain(m)
}

var nop = zap.NewNop()

// fakeBuilder makes environments out of four small files, in as much (fake) time as it is told.
type fakeBuilder struct {
	mu      sync.Mutex
	takes   time.Duration
	fail    func(try int) error // of the try with that number, from 1 on; nil: it succeeds
	hold    chan struct{}       // where set, builds stand still half way until it is closed
	verify  error
	began   []time.Time
	running int
	most    int // builds side by side
	checked int
	renewed int
}

func (b *fakeBuilder) Build(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error) {
	b.mu.Lock()
	b.began = append(b.began, time.Now())
	try, takes, hold, fail := len(b.began), b.takes, b.hold, b.fail
	b.running++
	b.most = max(b.most, b.running)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.running--
		b.mu.Unlock()
	}()
	progress(Stage{Name: StageInstalling, Message: "half way"})
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		return Built{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = /nowhere\n"), 0o600); err != nil {
		return Built{}, err
	}
	if takes > 0 { // a fake timer that is due at once upsets the race detector (go1.26)
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return Built{}, ctx.Err()
		}
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return Built{}, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(try); err != nil {
			return Built{}, err
		}
	}
	for _, name := range []string{"bin/python", "kernel.py"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1\n"), 0o700); err != nil {
			return Built{}, err
		}
	}
	progress(Stage{Name: StageVerifying, Message: "nearly there"})
	return Built{
		Python: filepath.Join(dir, "bin", "python"), PythonVersion: "3.13.1", Packages: []Package{{"ipykernel", "7.4"}},
		Variables: map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil}, PathPrepend: []string{filepath.Join(dir, "bin")},
		Sentinels: []string{"bin/python", "pyvenv.cfg", "kernel.py"},
	}, nil
}

func (b *fakeBuilder) Verify(context.Context, Manifest, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked++
	return b.verify
}

func (b *fakeBuilder) Renew(context.Context, Spec, time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewed++
	return nil
}

// set changes how builds go from now on.
func (b *fakeBuilder) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *fakeBuilder) tries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.began)
}

func always(err error) func(int) error { return func(int) error { return err } }

func failing(cause string) func(int) error {
	return always(&BuildError{Cause: cause, Message: "it went wrong", Hint: "mend it", Output: "line one\nline two"})
}

// fakeProcs are processes that live until the test ends them. A bubble of synctest cannot wait for real ones.
type fakeProcs struct {
	mu    sync.Mutex
	dead  map[int]bool
	using map[string]bool // ids of environments that some process runs from
	exits map[int][]func()
}

func ownerNo(pid int) Owner { return Owner{pid, uint64(pid) * 7, bootID(), machineID()} }

func (f *fakeProcs) processes() processes {
	return processes{
		ownerOf: func(pid int) (Owner, bool) { return ownerNo(pid), f.alive(ownerNo(pid)) },
		alive:   f.alive,
		users: func(string) map[string]proc {
			f.mu.Lock()
			defer f.mu.Unlock()
			found := map[string]proc{}
			for id := range f.using {
				found[id] = proc{}
			}
			return found
		},
		onExit: func(pid int, g func()) func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.exits[pid] = append(f.exits[pid], g)
			return func() {}
		},
	}
}

func (f *fakeProcs) alive(o Owner) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return o.BootID == bootID() && !f.dead[o.PID]
}

func (f *fakeProcs) end(pid int) {
	f.mu.Lock()
	f.dead[pid] = true
	exits := f.exits[pid]
	f.mu.Unlock()
	for _, g := range exits {
		g()
	}
}

func (f *fakeProcs) use(id string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if yes {
		f.using[id] = true
	} else {
		delete(f.using, id)
	}
}

// world is a Manager with all that is around it.
type world struct {
	*testing.T
	*Manager
	b    *fakeBuilder
	p    *fakeProcs
	cfg  Config
	logs *observer.ObservedLogs
}

func spec(packages ...string) Spec { return Spec{Kind: KindUV, Packages: packages} }

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
	synctest.Test(t, func(t *testing.T) {
		cfg.Dir = dir
		w := &world{T: t, cfg: cfg, b: b, p: &fakeProcs{dead: map[int]bool{}, using: map[string]bool{}, exits: map[int][]func(){}}}
		w.start()
		f(w)
		w.stop()
	})
}

func (w *world) start() {
	w.Helper()
	core, logs := observer.New(zap.InfoLevel)
	m, err := New(w.cfg, map[string]Builder{KindUV: w.b, KindConda: w.b}, zap.New(core))
	if err != nil {
		w.Fatal(err)
	}
	m.procs = w.p.processes()
	w.Manager, w.logs = m, logs
	m.Start()
}

func (w *world) stop() {
	w.Helper()
	if err := w.Stop(context.Background()); err != nil {
		w.Error(err)
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
	if got := [4]int{s.Available, s.Warming, s.Leased, s.Removing}; got != [4]int{available, warming, leased, removing} {
		w.Errorf("available, warming, leased, removing are %v, not %v", got, [4]int{available, warming, leased, removing})
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
	entries, err := os.ReadDir(w.store.envs())
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
