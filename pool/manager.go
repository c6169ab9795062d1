package pool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// Errors without details.
var (
	ErrClosed     = errors.New("the daemon is shutting down")
	ErrUnknownEnv = errors.New("no such environment, or it is not leased")
	ErrOverloaded = errors.New("too many acquires wait for this pool")
)

// Manager owns all pools of one daemon.
type Manager struct {
	log      *zap.Logger
	store    envdir.Store
	builders map[string]builder.Builder
	procs    proc.Processes
	short    func() string // standby.MemoryShort, except in tests

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	work   sync.WaitGroup // what Stop waits for
	opened chan struct{}  // closed when the disk has been read

	wakeFill, wakeReap, wakeTrash, wakeSync chan struct{} // each for one loop

	blind bool // the reaper's: no process can be seen, and that was logged

	heartbeat time.Duration
	beat      func()

	mu         sync.Mutex // guards what follows; taken by view only
	effects    effects
	cfg        Config
	pools      map[string]*pool
	envs       map[string]*env
	lastGrant  time.Time     // of an environment that was ready
	change     chan struct{} // closed and replaced when something changed
	turn       uint64        // the last one given to a waiter or a build
	closed     bool
	renewing   bool      // a lock file is renewed
	measuring  bool      // measure runs
	leaseFault bool      // the last lease could not be written, and that was logged
	reaping    bool      // the reaper runs again by itself
	lastNeed   time.Time // the last acquire, or the start
	watching   int       // calls of Watch
	noStandby  string    // why there may be no standby now; empty: there may
	scarce     time.Time // when memory was last short
	unsynced   []string  // folders whose lease record is to be synced
}

// effects is what is to be done after a change, without the lock.
type effects struct {
	grants  []*env // each is counted in work
	ended   []*standing
	changed bool // wake the watchers and the fill loop
	reap    bool // wake the reaper
}

// New opens the state directory and returns a Manager that does nothing until Start. builders has one Builder per kind;
// a pool of a kind without one must have size 0.
func New(cfg Config, builders map[string]builder.Builder, log *zap.Logger) (*Manager, error) {
	st, err := envdir.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	signal := func() chan struct{} { return make(chan struct{}, 1) }
	m := &Manager{
		log: log, store: st, builders: builders, procs: proc.ThisMachine, short: standby.MemoryShort,
		opened:   make(chan struct{}),
		wakeFill: signal(), wakeReap: signal(), wakeTrash: signal(), wakeSync: signal(),
		pools: map[string]*pool{}, envs: map[string]*env{}, change: make(chan struct{}), lastNeed: time.Now(),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.configureLocked(cfg)
	return m, nil
}

// Dir is the state directory, symlinks resolved.
func (m *Manager) Dir() string { return m.store.Dir }

// Start reads the disk and fills the pools in the background. The caller holds the lock on the state directory.
func (m *Manager) Start() {
	for _, f := range []func(){m.fillLoop, m.reaper, m.emptyTrash, m.syncer} {
		m.work.Go(f)
	}
}

// Heartbeat has the fill loop call beat at least every so often, from when the disk has been read until Stop. Builds do
// not delay it, but whatever keeps the Manager's lock does. It is called before Start; beat must not block.
func (m *Manager) Heartbeat(every time.Duration, beat func()) { m.heartbeat, m.beat = every, beat }

// Close answers all waiters with ErrClosed and cancels the builds without waiting for them. It may be called more than
// once. Ready environments and leases stay as they are.
func (m *Manager) Close() {
	m.update(func() {
		m.closed = true
		for _, p := range m.pools {
			m.failWaitersLocked(p, func(*waiter) error { return ErrClosed })
		}
		for _, e := range m.envs {
			e.tenancy.stopWatching()
			if e.standby != nil && e.standby.handed.IsZero() {
				m.endStandbyLocked(e, "the daemon stops")
			}
		}
	})
	m.cancel()
}

// Stop is Close, and returns once nothing runs any more, or with ctx.
func (m *Manager) Stop(ctx context.Context) error {
	m.Close()
	done := make(chan struct{})
	go func() {
		m.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// update runs f under the lock, and then, without it, does what f left in m.effects.
func (m *Manager) update(f func()) {
	defer endOnPanic()
	var todo effects
	var change chan struct{}
	m.view(func() {
		f()
		todo, m.effects = m.effects, effects{}
		if change = m.change; todo.changed {
			m.change = make(chan struct{})
		}
	})
	if todo.changed {
		close(change)
		wake(m.wakeFill)
	}
	if todo.reap {
		wake(m.wakeReap)
	}
	for _, s := range todo.ended {
		s.end()
	}
	for _, e := range todo.grants {
		m.grant(e)
	}
}

// view runs f under the lock. f leaves no effects.
func (m *Manager) view(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer endOnPanic() // before the lock is free
	f()
}

func (m *Manager) changedLocked() { m.effects.changed = true }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// endOnPanic, deferred, ends the program on a panic even where the caller recovers, as the server does. What the lock
// guards may be half changed, and a restart repairs everything.
func endOnPanic() {
	p := recover()
	if p == nil {
		return
	}
	stack := debug.Stack() // this call runs on top of what panicked
	go panic(fmt.Sprintf("%v\n\n%s", p, stack))
	select {} // nobody recovers a panic of a goroutine of its own
}

// enterLocked has Stop wait for work.Done. It is false after Close: another daemon may own the disk soon.
func (m *Manager) enterLocked() bool {
	if m.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// enter is enterLocked and, where that is true, f. Else the error is ErrClosed.
func (m *Manager) enter(f func()) error {
	err := ErrClosed
	m.view(func() {
		if m.enterLocked() {
			f()
			err = nil
		}
	})
	return err
}

func (m *Manager) waitOpen(ctx context.Context) error {
	select {
	case <-m.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return ErrClosed
	}
}
