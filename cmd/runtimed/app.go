package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"runtimed/config"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/pool/conda"
	"runtimed/pool/uv"
	"runtimed/rpc"
)

// stopTime is what a clean stop may take, whatever is going on.
const stopTime = 4 * time.Second

// feeds is how many times the watchdog is fed in the time after which it bites.
const feeds = 4

// daemon is what the parts share, and what main waits on.
type daemon struct {
	flags   config.Flags
	at      paths
	by      managed
	passed  *passed // nil unless a service manager listens for us
	program program
	log     *zap.Logger
	book    logbook // that log writes
	notify  notifier
	cfg     atomic.Pointer[config.Config] // in force
	started time.Time
	begun   bool // the log is ours

	stop   chan int      // an exit code: the daemon shall end
	reload chan struct{} // the configuration shall be read again
	pulse  chan struct{} // the pools' loop runs
}

// end asks main to stop the daemon; only the first one counts.
func (d *daemon) end(code int) {
	select {
	case d.stop <- code:
	default:
	}
}

// begin is the first line of each run. The log belongs to who has the lock beside it, so before that nothing is
// written.
func (d *daemon) begin() {
	d.begun = true
	d.log.Info("starting", zap.String("version", rpc.Version()), zap.Int("pid", pid),
		zap.String("config", d.cfg.Load().Path),
		zap.String("state", d.at.state), zap.String("started_by", d.by.by), zap.String("program", d.program.path))
}

// newApp is the list of parts. They start in the order in which they need each other: locks, pools, socket; and stop in
// reverse.
func newApp(d *daemon) *fx.App { return fx.New(parts(d)) }

func parts(d *daemon) fx.Option {
	return fx.Options(
		fx.Supply(d),
		fx.Provide(
			func(lc fx.Lifecycle, d *daemon) (*locks, error) { // at once: who does not get them must touch nothing
				l := newLocks(d.at)
				if d.passed != nil {
					l.patience = managedPatience
				}
				if err := l.take(d.log, d.begin); err != nil {
					return nil, err
				}
				lc.Append(fx.StopHook(l.free))
				return l, nil
			},
			func(lc fx.Lifecycle, d *daemon, _ *locks) (*pools, error) {
				p, err := newPools(d)
				if err == nil {
					lc.Append(fx.Hook{
						OnStart: func(context.Context) error { p.Start(); return nil },
						OnStop:  p.Stop,
					})
				}
				return p, err
			},
			func(lc fx.Lifecycle, d *daemon, p *pools) *reloader {
				r := newReloader(d, p)
				lc.Append(fx.StartStopHook(r.start, r.stop))
				return r
			},
			func(lc fx.Lifecycle, d *daemon, l *locks, p *pools, r *reloader) *endpoint {
				e := newEndpoint(d, l, p, r)
				lc.Append(fx.StartStopHook(e.start, e.stop))
				return e
			},
		),
		fx.Invoke(func(*endpoint) {}),
		fx.WithLogger(func() fxevent.Logger {
			l := &fxevent.ZapLogger{Logger: d.log}
			l.UseLogLevel(zapcore.DebugLevel)
			l.UseErrorLevel(zapcore.DebugLevel) // main says what went wrong
			return begun{l, d}
		}),
	)
}

// begun keeps what fx tells before the log is ours.
type begun struct {
	fxevent.Logger
	d *daemon
}

func (b begun) LogEvent(e fxevent.Event) {
	if b.d.begun {
		b.Logger.LogEvent(e)
	}
}

// pools is the manager and what it was made of.
type pools struct {
	*pool.Manager
	uv    *uv.Builder
	conda *conda.Builder
}

func newPools(d *daemon) (*pools, error) {
	cfg := d.cfg.Load()
	uv := uv.New(d.at.state, uvConfig(cfg), os.Environ(), d.log.Named("uv"))
	conda := conda.New(d.at.state, condaConfig(cfg), uv, os.Environ(), d.log.Named("conda"))
	builders := map[string]builder.Builder{builder.KindUV: uv, builder.KindConda: conda}
	m, err := pool.New(poolConfig(cfg, d.at.state), builders, d.log.Named("pool"))
	if err == nil && d.by.watchdog > 0 {
		m.Heartbeat(d.by.watchdog/feeds, func() {
			select {
			case d.pulse <- struct{}{}:
			default: // the one before is being worked off
			}
		})
	}
	return &pools{m, uv, conda}, err
}

// configure puts cfg in force and returns the names of the pools that are another than before.
func (p *pools) configure(ctx context.Context, cfg *config.Config) ([]string, error) {
	if _, err := p.Status(ctx, ""); err != nil { // while the disk is being read, nothing is taken over
		return nil, err
	}
	p.uv.Configure(uvConfig(cfg)) // these first: the builds that follow from the other are made with them
	p.conda.Configure(condaConfig(cfg))
	return p.Reconfigure(ctx, poolConfig(cfg, p.Dir()))
}

func uvConfig(cfg *config.Config) uv.Config {
	return uv.Config{Path: cfg.UV.Path, IndexURL: cfg.UV.IndexURL, Copy: cfg.UV.Link == "copy"}
}

func condaConfig(cfg *config.Config) conda.Config {
	return conda.Config{Provider: cfg.Conda.Provider, Path: cfg.Conda.Path}
}

func poolConfig(cfg *config.Config, dir string) pool.Config {
	c := pool.Config{
		Dir: dir, Parallel: cfg.Build.Parallel, BuildTimeout: cfg.Build.Timeout,
		MinFree: cfg.Build.MinFree, MaxSize: cfg.Build.MaxSize, LockAge: cfg.Build.LockAge,
	}
	for _, p := range cfg.Pools {
		c.Pools = append(c.Pools, pool.PoolConfig{
			Name: p.Name, Size: p.Size, MaxAge: p.MaxAge,
			Spec: builder.Spec{Kind: p.Kind, Python: p.Python, Packages: p.Packages, Channels: p.Channels},
		})
	}
	return c
}
