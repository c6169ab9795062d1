package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Config is what a Manager keeps. Dir is absolute and does not change; the rest may, by Reconfigure.
type Config struct {
	Dir          string // environments, lock files and tools; made with mode 0700 where it is not there
	Parallel     int    // uv builds at once, at least 1; beside them one of conda
	BuildTimeout time.Duration
	MinFree      int64 // bytes: no build with less free space
	MaxSize      int64 // bytes: of all environments together; 0 is no bound
	LockAge      time.Duration
	Pools        []PoolConfig // in the order in which they are shown
}

// PoolConfig is one named pool.
type PoolConfig struct {
	Name   string
	Size   int // environments kept ready; 0 turns it off
	Spec   builder.Spec
	MaxAge time.Duration // a ready environment is replaced after this long
}

// Manager owns all pools of one daemon.
type Manager struct {
	log      *zap.Logger
	store    envdir.Store
	builders map[string]builder.Builder
	procs    proc.Processes

	ctx     context.Context // of everything in the background; ends at Stop
	cancel  context.CancelFunc
	work    sync.WaitGroup
	kick    chan struct{} // the loop looks at once
	reap    chan struct{} // the sweeper looks at once
	measure chan struct{} // sizes are measured anew
	trash   chan struct{} // something was thrown away
	opened  chan struct{} // closed when the disk has been read

	heartbeat time.Duration // the loop calls beat at least this often; both are set before Start
	beat      func()

	mu       sync.Mutex // guards all that follows
	cfg      Config
	pools    map[string]*pool
	envs     map[string]*env
	lastGet  time.Time     // of an acquire that was served from what was ready: a build would slow its kernel
	change   chan struct{} // closed and replaced whenever anything that status shows may be another
	closed   bool
	renewing bool     // a lock file is looked at
	blind    bool     // no process can be seen, which was said; the sweeper's own
	troubled bool     // environments could not be handed out the last time, and that was said
	looking  bool     // the sweeper will look again by itself
	unsynced []string // folders whose lease record a power loss could still take back
	syncing  bool     // they are being worked off
	turn     uint64   // the last one given, to a waiter or a build
}

// pool is one named pool. Its counts are counted from the environments.
type pool struct {
	cfg       PoolConfig
	hash      string
	shown     []string  // the packages, without passwords
	waiters   []*waiter // first come first
	fail      *failure  // nil while builds succeed
	renewed   time.Time // of the last try to renew its lock file
	unrenewed bool      // that one failed

	// of a pool for needs only, which forms by itself when somebody asks for them; see needs.go
	needs builder.Needs
	keep  bool      // one has been built, so one is kept ready
	used  time.Time // last asked for
}

// New opens the state directory and returns a Manager that does nothing until Start. builders has one Builder per kind; a pool
// of a kind without one must have size 0.
func New(cfg Config, builders map[string]builder.Builder, log *zap.Logger) (*Manager, error) {
	st, err := envdir.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		log: log, store: st, builders: builders, procs: proc.ThisMachine,
		kick: make(chan struct{}, 1), reap: make(chan struct{}, 1), measure: make(chan struct{}, 1), trash: make(chan struct{}, 1), opened: make(chan struct{}),
		pools: map[string]*pool{}, envs: map[string]*env{}, change: make(chan struct{}),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.configure(cfg)
	return m, nil
}

// Dir is the state directory, symlinks resolved.
func (m *Manager) Dir() string { return m.store.Dir }

// Start begins to read the disk and to fill the pools, in the background. The caller holds the lock on the state directory.
func (m *Manager) Start() {
	for _, f := range []func(){m.loop, m.reaper, m.emptyTrash, m.measurer} {
		m.work.Go(f)
	}
}

// Pulse has the loop call beat at least every so often, from when the disk has been read until Stop; it is for who must know whether
// the loop still runs. Builds do not hold it up, but what keeps the Manager's lock does. Call it before Start; beat must not block.
func (m *Manager) Heartbeat(every time.Duration, beat func()) { m.heartbeat, m.beat = every, beat }

// Close answers all waiters with ErrClosed and has the builds end; it does not wait for them, and may be called more than once.
// Ready environments and leases stay as they are.
func (m *Manager) Close() {
	defer endOnPanic()
	m.mu.Lock()
	m.closed = true
	for _, p := range m.pools {
		m.failWaiters(p, func(*waiter) error { return ErrClosed })
	}
	for _, e := range m.envs {
		if e.unwatch != nil {
			e.unwatch()
			e.unwatch = nil
		}
	}
	m.mu.Unlock()
	m.cancel()
}

// Stop is Close, and returns once nothing runs any more, or with ctx.
func (m *Manager) Stop(ctx context.Context) error {
	defer endOnPanic()
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

// enter counts something that changes the disk, so that Stop waits until work.Done is called; false where it must not begin any
// more, since another daemon may be at work. Callers hold mu.
func (m *Manager) enter() bool {
	if m.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// wait returns once the disk has been read.
func (m *Manager) wait(ctx context.Context) error {
	select {
	case <-m.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return ErrClosed
	}
}

// changed tells the watchers. Callers hold mu.
func (m *Manager) changed() {
	close(m.change)
	m.change = make(chan struct{})
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *Manager) lookSoon() { wake(m.kick) }
func (m *Manager) reapSoon() { wake(m.reap) }

// configure puts cfg in force and returns the pools that are another than before. Callers hold mu, or are New.
func (m *Manager) configure(cfg Config) []string {
	changed := []string{}
	before := m.pools
	m.cfg, m.pools = cfg, map[string]*pool{}
	for _, pc := range cfg.Pools {
		hash := pc.Spec.Hash()
		p, ok := before[pc.Name]
		switch {
		case !ok:
			p = &pool{}
			changed = append(changed, pc.Name)
		case p.hash != hash:
			changed = append(changed, pc.Name)
			p.fail, p.renewed = nil, time.Time{} // nobody knows yet how the new set builds
		case p.cfg.Size != pc.Size || p.cfg.MaxAge != pc.MaxAge:
			changed = append(changed, pc.Name)
		}
		if pc.Size == 0 {
			p.fail = nil // what is not tried does not fail
		}
		p.tryAgain() // whatever was wrong may be mended now, also outside of this pool's own settings
		p.cfg, p.hash, p.shown = pc, hash, redact.Texts(pc.Spec.Packages)
		m.pools[pc.Name] = p
	}
	for name, p := range before {
		if p.derived() {
			m.derive(p)
			continue
		}
		if m.pools[name] == nil {
			changed = append(changed, name)
			m.failWaiters(p, func(*waiter) error { return m.unknown(name) })
		}
	}
	slices.Sort(changed)
	return changed
}

// Reconfigure puts cfg in force: environments that no longer fit are retired as their replacements arrive. It returns the names
// of the pools that are another than before. Dir must be what it was.
func (m *Manager) Reconfigure(ctx context.Context, cfg Config) ([]string, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	cfg.Dir = m.cfg.Dir
	changed := m.configure(cfg)
	for _, e := range m.envs {
		p := m.pools[e.pool]
		if e.state == Warming && (p == nil || p.cfg.Size == 0 || e.hash != p.hash && !e.recheck) {
			m.drop(e, "its pool was configured anew")
		}
	}
	var handing []*env
	for _, p := range m.pools {
		handing = append(handing, m.serve(p)...) // what was stale may fit again
		m.failHopeless(p)                        // a pool may be off now
	}
	m.changed()
	m.lookSoon()
	m.mu.Unlock()
	m.grantAll(handing)
	return changed, nil
}

// drop ends a build, or takes it back where it has not begun. Callers hold mu.
func (m *Manager) drop(e *env, why string) {
	if e.started {
		if !e.dropped {
			m.log.Debug("build is ended", zap.String("env", e.id), zap.String("why", why))
		}
		e.dropped = true
		e.cancel() // its goroutine moves it
		return
	}
	m.move(e, Removing, why)
	if !e.recheck {
		delete(m.envs, e.id) // nothing is on disk
	}
}

// warming is how many environments of a pool are being built. Callers hold mu.
func (m *Manager) warming(name string) int {
	n := 0
	for _, e := range m.envs {
		if e.pool == name && e.state == Warming {
			n++
		}
	}
	return n
}

// fits says whether a ready environment may be handed out now: it is of the present configuration, or of an earlier one while
// builds of the present one fail.
func (p *pool) fits(e *env) bool {
	return e.state == Ready && (e.hash == p.hash || p.fail != nil)
}

// find returns the environment id. The error is ErrUnknownEnv where there is none.
func (m *Manager) find(id string) (*env, error) {
	if e, ok := m.envs[id]; ok {
		return e, nil
	}
	return nil, ErrUnknownEnv
}

// Errors that need no more telling.
var (
	ErrClosed     = errors.New("the daemon is shutting down")
	ErrUnknownEnv = errors.New("no such environment, or it is not leased")
	ErrOverloaded = errors.New("too many acquires wait for this pool")
)
