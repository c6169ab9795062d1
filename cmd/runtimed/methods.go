package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/rpc"
	"runtimed/rpc/server"
)

// methods implements the contract.
type methods struct {
	about    about
	at       statedir.Paths
	settings *settings
	log      *logbook
	pools    *pools
	reloader *reloader
	exit     exit
	watches  watches
	projects chan struct{} // holds one for each that is read
}

// newMethods returns all methods but rpc.discover, which the server adds.
func newMethods(a about, at statedir.Paths, s *settings, log *logbook, p *pools, r *reloader,
	exit exit) []server.Method {
	m := &methods{about: a, at: at, settings: s, log: log, pools: p, reloader: r, exit: exit,
		projects: make(chan struct{}, projectsAtOnce)}
	return []server.Method{
		method(p, rpc.MethodInfo, m.info),
		method(p, rpc.MethodPing, m.ping),
		method(p, rpc.MethodReload, m.reload),
		method(p, rpc.MethodShutdown, m.shutdown),
		method(p, rpc.MethodSetLogLevel, m.setLogLevel),
		method(p, rpc.MethodStatus, m.status),
		method(p, rpc.MethodLock, m.lock),
		method(p, rpc.MethodAcquire, m.acquire),
		method(p, rpc.MethodRelease, m.release),
		method(p, rpc.MethodFlush, m.flush),
		method(p, rpc.MethodWatch, m.watch),
		method(p, rpc.MethodUnwatch, m.unwatch),
		method(p, rpc.MethodEnvList, m.list),
		method(p, rpc.MethodAdopt, m.adopt),
		method(p, rpc.MethodGC, m.gc),
	}
}

// method has f's errors translated, and notes that somebody needs the daemon. Whoever only asks how things are, as a
// monitor does again and again, keeps no daemon from ending when it is idle.
func method[P, R any](of *pools, name string, f func(context.Context, P) (R, error)) server.Method {
	looks := name == rpc.MethodInfo || name == rpc.MethodStatus
	return server.NewMethod(name, func(ctx context.Context, p P) (R, error) {
		if !looks {
			now := time.Now()
			of.lastCall.Store(&now)
		}
		r, err := f(ctx, p)
		return r, wireError(err)
	})
}

func (m *methods) info(ctx context.Context, p rpc.InfoParams) (rpc.Info, error) {
	if p.Client != nil {
		m.log.Debug("client", zap.String("name", p.Client.Name), zap.String("version", p.Client.Version),
			zap.Int("pid", server.PeerFrom(ctx).PID))
	}
	started, program := m.about.startedAt, m.about.program
	return rpc.Info{
		Name: rpc.Name, Version: rpc.Version(), Protocol: rpc.Protocol,
		PID: os.Getpid(), StartedAt: started.UTC(), UptimeMS: time.Since(started).Milliseconds(),
		Socket: m.at.Socket, StateDir: m.pools.Dir(), ConfigPath: m.settings.Load().Path, Log: m.log.place,
		StartedBy: m.about.startedBy, Program: program.path, Replaced: program.replaced(),
	}, nil
}

func (m *methods) ping(context.Context, rpc.None) (rpc.None, error) { return rpc.None{}, nil }

func (m *methods) reload(ctx context.Context, _ rpc.None) (rpc.ReloadResult, error) {
	changed, err := m.reloader.reload(ctx)
	if errors.As(err, new(config.Faults)) {
		return rpc.ReloadResult{}, rpc.Errorf(rpc.KindInvalidParams, "the configuration is wrong: %s", err).
			WithHint("correct it; the old one stays in force. runt config check looks at it again")
	}
	return rpc.ReloadResult{Changed: changed}, err
}

func (m *methods) shutdown(context.Context, rpc.None) (rpc.None, error) {
	m.log.Info("asked to stop")
	m.exit.end(exitStopped)
	return rpc.None{}, nil
}

func (m *methods) setLogLevel(_ context.Context, p rpc.LogLevel) (rpc.LogLevel, error) {
	if err := m.log.level.UnmarshalText([]byte(p.Level)); err != nil {
		return rpc.LogLevel{}, err
	}
	return rpc.LogLevel{Level: m.log.level.String()}, nil
}

func (m *methods) status(ctx context.Context, p rpc.PoolParams) (rpc.StatusResult, error) {
	list, err := m.pools.Status(ctx, value(p.Pool))
	return statusResult(list), err
}

func (m *methods) lock(ctx context.Context, p rpc.LockParams) (rpc.LockResult, error) {
	wait := rpc.DefaultWait
	if p.WaitMS != nil {
		wait = time.Duration(*p.WaitMS) * time.Millisecond
	}
	l, err := m.pools.Lock(ctx, cmp.Or(value(p.Pool), builder.KindUV), wait)
	return rpc.LockResult{Pool: l.Pool, Kind: l.Kind, Lock: l.Hash, Text: l.Text}, err
}

func (m *methods) acquire(ctx context.Context, p rpc.AcquireParams) (rpc.AcquireResult, error) {
	owner, err := ownerOf(ctx, p.OwnerPID)
	if err != nil {
		return rpc.AcquireResult{}, err
	}
	r, err := m.requestOf(ctx, p)
	if err != nil {
		return rpc.AcquireResult{}, err
	}
	r.Owner = owner
	// In another PID namespace a standby's number is another process, which the caller would end if it got no answer.
	r.Standby = r.Standby && proc.SameNumbers(server.PeerFrom(ctx).PID)
	if p.WantsProgress() {
		r.Progress = func(s builder.Stage) {
			server.SendProgress(ctx, rpc.Progress{Stage: s.Name, Message: redact.Text(s.Message), Fraction: s.Fraction})
		}
	}
	got, err := m.pools.Acquire(ctx, r)
	if err != nil {
		return rpc.AcquireResult{}, err
	}
	server.OnUndelivered(ctx, func() { m.pools.Undelivered(got.Env.ID) })
	return acquireResult(got), nil
}

// ownerOf is the owner of a lease: the named process, or the caller.
func ownerOf(ctx context.Context, named *int) (proc.Owner, error) {
	if err := checkOwner(ctx, named != nil); err != nil {
		return proc.Owner{}, err
	}
	if named != nil {
		return proc.Named(*named)
	}
	return proc.OwnerOf(server.PeerFrom(ctx).PID)
}

// checkOwner refuses a caller in another PID namespace, whose numbers mean other processes here.
func checkOwner(ctx context.Context, named bool) error {
	peer := server.PeerFrom(ctx).PID
	switch {
	case proc.Blind() != "": // reported better elsewhere
		return nil
	case peer == 0:
		return paramError("owner_pid", "run a daemon beside the program that asks, "+
			"with a state directory and a socket (RUNTIMED_SOCKET) of its own",
			"nothing can be leased to a process in a PID namespace that this daemon does not see, as outside its "+
				"container")
	case named && !proc.SameNumbers(peer):
		return paramError("owner_pid",
			"leave owner_pid out, and the lease belongs to the process that asks, as with runt run",
			"owner_pid is a number of another PID namespace than this daemon's, where it may be a stranger's")
	}
	return nil
}

func (m *methods) release(ctx context.Context, p rpc.EnvParams) (rpc.None, error) {
	return rpc.None{}, m.pools.Release(ctx, p.Env)
}

func (m *methods) flush(ctx context.Context, p rpc.PoolParams) (rpc.FlushResult, error) {
	n, err := m.pools.Flush(ctx, value(p.Pool))
	return rpc.FlushResult{Removed: n}, err
}

func (m *methods) adopt(ctx context.Context, p rpc.AdoptParams) (rpc.AdoptResult, error) {
	if err := checkOwner(ctx, true); err != nil {
		return rpc.AdoptResult{}, err
	}
	info, err := m.pools.Adopt(ctx, p.Env, p.OwnerPID)
	return rpc.AdoptResult{Env: envOf(info)}, err
}

func (m *methods) gc(ctx context.Context, p rpc.GCParams) (rpc.GCResult, error) {
	done, err := m.pools.GC(ctx, value(p.DryRun))
	return gcResult(done), err
}

func (m *methods) list(ctx context.Context, p rpc.EnvListParams) (rpc.EnvListResult, error) {
	infos, err := m.pools.List(ctx, value(p.Pool), pool.State(value(p.State)))
	return listResult(infos), err
}
