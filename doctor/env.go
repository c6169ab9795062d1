package doctor

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"sync"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/rpc"
)

// Env is what the checks share.
type Env struct {
	options Options

	cfg     *config.Config // the answering daemon's, or what one started here would have
	cfgErr  error          // of this shell
	at      statedir.Paths
	atErr   error
	here    statedir.Paths // of this shell
	peer    peer           // at the socket
	environ []string       // the answering daemon's, or ours

	tools    *inspector
	toolsErr error
	uv       func() (foundUV, error)
	conda    func() (foundConda, error)
	lock     func() lock
	optional chan []string // gets the pools that nobody asked for

	children sync.WaitGroup // tools that are not waited for any more
}

// examine gathers what the checks share, and runs them all at once.
func (e *Env) examine(ctx context.Context, found chan<- result) {
	e.gather(ctx)
	var optional []string
	for _, p := range e.cfg.Pools {
		if e.cfg.Optional(p.Name) {
			optional = append(optional, p.Name)
		}
	}
	e.optional <- optional
	tools := e.at.State
	if !safefile.Exists(tools) || statedir.CheckLocal(tools) != nil {
		tools = os.DevNull // nothing is below it; what another user may have made is not run
	}
	e.tools, e.toolsErr = newInspector(tools, e.options.UV(e.cfg), e.options.Conda(e.cfg), e.environ)
	if e.toolsErr == nil {
		defer e.tools.close() // a temporary folder
	}
	defer e.children.Wait()
	e.uv = sync.OnceValues(func() (foundUV, error) { return within(ctx, e, e.tools.findUV) })
	e.conda = sync.OnceValues(func() (foundConda, error) { return within(ctx, e, e.tools.findConda) })
	e.lock = sync.OnceValue(func() lock { return findLock(ctx, e) })
	var work sync.WaitGroup
	for i, c := range Checks {
		work.Go(func() { found <- result{i, c.Run(ctx, e)} })
	}
	work.Wait()
}

// gather prefers the configuration and environment of a daemon that answers.
func (e *Env) gather(ctx context.Context) {
	e.cfg, e.cfgErr = config.Load(config.Flags{}, os.Getenv)
	if e.cfgErr != nil {
		e.cfg = config.Defaults()
	}
	e.at, e.atErr = rpc.Paths(e.cfg.Socket, e.cfg.CacheDir)
	if e.at.State == "" { // the socket's path is wrong
		e.at.Own, _ = rpc.StateDir(runtime.GOOS, os.Getenv)
		e.at.State = cmp.Or(e.cfg.CacheDir, e.at.Own)
	}
	e.here, e.environ = e.at, os.Environ()
	e.peer.kind = nobody
	if e.atErr == nil {
		e.peer = findPeer(ctx, e.at.Socket, e.options.Listening)
	}
	if info := e.peer.info; info != nil {
		e.at.State = info.StateDir
		if environ := proc.EnvironOf(info.PID); environ != nil && !e.peer.otherNamespace {
			e.environ = environ
		}
		if cfg, err := config.Load(config.FlagsFor(info.ConfigPath, e.getenv), e.getenv); err == nil {
			e.cfg = cfg
		}
	}
	useProxies(e)
}

func (e *Env) getenv(name string) string { return tool.Lookup(e.environ, name) }

// ofState is a check of the state directory, or of where it will be.
func ofState(check run) run {
	return func(ctx context.Context, e *Env) Findings {
		if e.at.State == "" {
			return skipped("not tested: there is no place for environments")
		}
		return check(ctx, e)
	}
}

// ofPools is a check that only pools of one kind need.
func ofPools(kind string, check func(context.Context, *Env, []config.Pool) Findings) run {
	return func(ctx context.Context, e *Env) Findings {
		if pools := e.poolsOn(kind); len(pools) > 0 {
			return check(ctx, e, pools)
		}
		return skipped("not needed: no %s pool is on", kind)
	}
}

func (e *Env) poolsOn(kind string) (on []config.Pool) {
	for _, p := range e.cfg.Pools {
		if p.Kind == kind && p.Size > 0 {
			on = append(on, p)
		}
	}
	return on
}

// within calls f, which asks the inspector, but does not wait longer than ctx for a tool that does not end.
func within[R any](ctx context.Context, e *Env, f func(context.Context) (R, error)) (R, error) {
	var r, none R
	if e.toolsErr != nil {
		return none, e.toolsErr
	}
	var err error
	done := make(chan struct{})
	e.children.Go(func() {
		defer close(done)
		r, err = f(ctx)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return none, ctx.Err() // the tool's error is that it was ended
	}
	return r, err
}

// repair runs the fixes, and returns what each did by check. It is quick, since a daemon that starts meanwhile waits
// only a quarter of a second for its locks.
func (e *Env) repair(all []Findings) map[string]string {
	fixed := map[string]string{}
	var locks *statedir.Locks
	foreign := statedir.CheckHome(os.Getenv("HOME"))
	for i := range all {
		f := all[i].worst()
		if f.fix == nil {
			continue
		}
		err := foreign // a new lock file would be root's
		if err == nil && f.locked && locks == nil {
			if locks, err = statedir.HoldLocks(e.at, repairPatience); err == nil {
				defer locks.Free()
			}
		}
		done := ""
		if err == nil {
			done, err = f.fix()
		}
		if err != nil {
			f.Hint = "it could not be repaired: " + err.Error()
			continue
		}
		f.Status, f.Hint, fixed[Checks[i].Name] = rpc.CheckOK, "", done
	}
	return fixed
}
