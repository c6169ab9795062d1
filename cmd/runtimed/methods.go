package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/pyreq"
	"runtimed/internal/redact"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/rpc"
	"runtimed/rpc/server"
)

// methods are the daemon's side of the contract: what each name does with the pools.
type methods struct {
	d        *daemon
	pools    *pools
	reloader *reloader
	watches  watches
}

// table is every method there is, but rpc.discover, which the server makes of it.
func (m *methods) table() []server.Method {
	return []server.Method{
		server.NewMethod(rpc.MethodInfo, m.info),
		server.NewMethod(rpc.MethodPing, m.ping),
		server.NewMethod(rpc.MethodReload, m.reload),
		server.NewMethod(rpc.MethodShutdown, m.shutdown),
		server.NewMethod(rpc.MethodSetLogLevel, m.setLogLevel),
		server.NewMethod(rpc.MethodStatus, m.status),
		server.NewMethod(rpc.MethodAcquire, m.acquire),
		server.NewMethod(rpc.MethodRelease, m.release),
		server.NewMethod(rpc.MethodFlush, m.flush),
		server.NewMethod(rpc.MethodWatch, m.watch),
		server.NewMethod(rpc.MethodUnwatch, m.unwatch),
		server.NewMethod(rpc.MethodEnvList, m.list),
		server.NewMethod(rpc.MethodAdopt, m.adopt),
		server.NewMethod(rpc.MethodGC, m.gc),
	}
}

func (m *methods) info(ctx context.Context, p rpc.InfoParams) (rpc.Info, error) {
	if p.Client != nil {
		m.d.log.Debug("client", zap.String("name", p.Client.Name), zap.String("version", p.Client.Version),
			zap.Int("pid", server.PeerFrom(ctx).PID))
	}
	return rpc.Info{
		Name: rpc.Name, Version: rpc.Version(), Protocol: rpc.Protocol, PID: pid, StartedAt: m.d.started.UTC(),
		Socket: m.d.at.socket, StateDir: m.pools.Dir(), ConfigPath: m.d.cfg.Load().Path,
		UptimeMS:  time.Since(m.d.started).Milliseconds(),
		StartedBy: m.d.by.by, Program: m.d.program.path, Replaced: m.d.program.replaced(), Log: m.d.book.place,
	}, nil
}

func (m *methods) ping(context.Context, rpc.None) (rpc.None, error) { return rpc.None{}, nil }

func (m *methods) reload(ctx context.Context, _ rpc.None) (rpc.ReloadResult, error) {
	changed, err := m.reloader.reload(ctx)
	var faults config.Faults
	if errors.As(err, &faults) {
		return rpc.ReloadResult{}, rpc.Errorf(rpc.KindInvalidParams, "the configuration is wrong: %s",
			redact.Text(err.Error())).WithHint("correct it; the old one stays in force. runt config check looks at it again")
	}
	return rpc.ReloadResult{Changed: changed}, wireError(err)
}

func (m *methods) shutdown(context.Context, rpc.None) (rpc.None, error) {
	m.d.log.Info("asked to stop")
	m.d.end(exitStopped)
	return rpc.None{}, nil
}

func (m *methods) setLogLevel(_ context.Context, p rpc.LogLevel) (rpc.LogLevel, error) {
	if err := m.d.book.level.UnmarshalText([]byte(p.Level)); err != nil {
		return rpc.LogLevel{}, err
	}
	return rpc.LogLevel{Level: m.d.book.level.String()}, nil
}

func (m *methods) status(ctx context.Context, p rpc.PoolParams) (rpc.StatusResult, error) {
	list, err := m.pools.Status(ctx, value(p.Pool))
	return statusResult(list), wireError(err)
}

func (m *methods) acquire(ctx context.Context, p rpc.AcquireParams) (rpc.AcquireResult, error) {
	owner, err := ownerOf(ctx, p.OwnerPID)
	if err != nil {
		return rpc.AcquireResult{}, err
	}
	needs, err := pyreq.Request{
		Packages: p.Packages, Requirements: value(p.Requirements), Script: value(p.Script), Python: value(p.Python),
	}.Needs()
	if err != nil {
		return rpc.AcquireResult{}, wireError(err)
	}
	r := pool.Request{
		Pool: builder.KindUV, Needs: builder.Needs(needs), Wait: rpc.DefaultWait, Owner: owner, Label: value(p.Label),
		Key:     value(p.Key),
		Session: value(p.Session), Linger: rpc.DefaultLinger,
		Progress: func(s builder.Stage) {
			if p.WantsProgress() {
				server.SendProgress(ctx, rpc.Progress{Stage: s.Name, Message: redact.Text(s.Message), Fraction: s.Fraction})
			}
		},
	}
	if p.Pool != nil {
		r.Pool = *p.Pool
	}
	if p.WaitMS != nil {
		r.Wait = time.Duration(*p.WaitMS) * time.Millisecond
	}
	if p.LingerMS != nil {
		r.Linger = time.Duration(*p.LingerMS) * time.Millisecond
	}
	got, err := m.pools.Acquire(ctx, r)
	if err != nil {
		return rpc.AcquireResult{}, wireError(err)
	}
	server.OnUndelivered(ctx, func() { m.pools.Undelivered(got.Env.ID) })
	source := rpc.SourceReady
	switch {
	case got.Resumed:
		source = rpc.SourceResumed
	case got.Extended:
		source = rpc.SourceExtended
	case got.Built:
		source = rpc.SourceBuilt
	}
	return rpc.AcquireResult{
		Env: envOf(got.Env), Source: source, Stale: got.Stale, WaitedMS: got.Waited.Milliseconds(),
		Added: packagesOf(got.Added), AddedMS: got.AddedIn.Milliseconds(),
	}, nil
}

// ownerOf is the process that a lease shall belong to: the one that was named, else the one at the other end.
func ownerOf(ctx context.Context, named *int) (proc.Owner, error) {
	if err := canName(ctx, named != nil); err != nil {
		return proc.Owner{}, err
	}
	if named != nil {
		owner, err := proc.Named(*named)
		return owner, wireError(err)
	}
	owner, err := proc.OwnerOf(server.PeerFrom(ctx).PID)
	return owner, wireError(err)
}

// canName says why nobody can own what the process at the other end asks for. That has numbers for processes of its own
// where it is in another PID namespace; here they are those of strangers.
func canName(ctx context.Context, named bool) error {
	peer := server.PeerFrom(ctx).PID
	var e *rpc.Error
	switch {
	case proc.Blind() != "": // which says it better, for any process
		return nil
	case peer == 0:
		e = rpc.Errorf(rpc.KindInvalidParams, "nothing can be leased to a process in a PID namespace that "+
			"this daemon does not see, as outside its container").
			WithHint("run a daemon beside the program that asks, with a state directory and a socket (RUNTIMED_SOCKET) of its own")
	case named && !proc.SameNumbers(peer):
		e = rpc.Errorf(rpc.KindInvalidParams, "owner_pid is a number of another PID namespace than this daemon's, "+
			"where it may be a stranger's").
			WithHint("leave owner_pid out, and the lease belongs to the process that asks, as with runt run")
	default:
		return nil
	}
	e.Data.Param = "owner_pid"
	return e
}

func (m *methods) release(ctx context.Context, p rpc.EnvParams) (rpc.None, error) {
	return rpc.None{}, wireError(m.pools.Release(ctx, p.Env))
}

func (m *methods) flush(ctx context.Context, p rpc.PoolParams) (rpc.FlushResult, error) {
	n, err := m.pools.Flush(ctx, value(p.Pool))
	return rpc.FlushResult{Removed: n}, wireError(err)
}

func (m *methods) adopt(ctx context.Context, p rpc.AdoptParams) (rpc.AdoptResult, error) {
	if err := canName(ctx, true); err != nil {
		return rpc.AdoptResult{}, err
	}
	info, err := m.pools.Adopt(ctx, p.Env, p.OwnerPID)
	return rpc.AdoptResult{Env: envOf(info)}, wireError(err)
}

func (m *methods) gc(ctx context.Context, p rpc.GCParams) (rpc.GCResult, error) {
	done, err := m.pools.GC(ctx, p.DryRun != nil && *p.DryRun)
	return gcResult(done), wireError(err)
}

func (m *methods) list(ctx context.Context, p rpc.EnvListParams) (rpc.EnvListResult, error) {
	infos, err := m.pools.List(ctx, value(p.Pool), pool.State(value(p.State)))
	result := rpc.EnvListResult{Envs: []rpc.EnvListed{}}
	for _, info := range infos {
		listed := rpc.EnvListed{Env: envOf(info)}
		if info.SizeBytes > 0 {
			listed.SizeBytes = &info.SizeBytes
		}
		if l := info.Lease; l != nil {
			listed.Lease = &rpc.Lease{OwnerPID: l.Owner.PID, Alive: info.Alive, Where: info.Where, Label: l.Label,
				Session: l.Session, Since: l.LeasedAt.UTC()}
		}
		result.Envs = append(result.Envs, listed)
	}
	return result, wireError(err)
}

// watchInterval is the shortest time between two notifications about one pool.
const watchInterval = 100 * time.Millisecond

// watches are the connections that watch the pools; one that asks again begins anew.
type watches struct {
	mu  sync.Mutex
	end map[*server.Conn]context.CancelFunc
}

func (m *methods) watch(ctx context.Context, _ rpc.None) (rpc.StatusResult, error) {
	conn := server.ConnFrom(ctx)
	// a watch ends with its connection, whatever else is forgotten
	watching, cancel := context.WithCancel(conn.Context())
	list, err := m.pools.Watch(watching, watchInterval, func(s pool.Status, gone bool) bool {
		return conn.Notify(rpc.NotifyPoolChanged, rpc.PoolChanged{Pool: statusOf(s), Gone: gone})
	})
	if err != nil {
		cancel()
		return rpc.StatusResult{}, wireError(err)
	}
	m.watches.start(conn, cancel)
	return statusResult(list), nil
}

func (m *methods) unwatch(ctx context.Context, _ rpc.None) (rpc.None, error) {
	m.watches.stop(server.ConnFrom(ctx))
	return rpc.None{}, nil
}

// start ends what conn watched before, and notes how to end what it watches now.
func (w *watches) start(conn *server.Conn, cancel context.CancelFunc) {
	w.mu.Lock() // until the entry is there: a connection that has closed by now takes it out again only then
	defer w.mu.Unlock()
	if w.end == nil {
		w.end = map[*server.Conn]context.CancelFunc{}
	}
	if before, ok := w.end[conn]; ok {
		before()
	}
	release := conn.Hold()
	unhook := context.AfterFunc(conn.Context(), func() { w.stop(conn) })
	w.end[conn] = func() { cancel(); release(); unhook() }
}

func (w *watches) stop(conn *server.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end, ok := w.end[conn]; ok {
		end()
		delete(w.end, conn)
	}
}
