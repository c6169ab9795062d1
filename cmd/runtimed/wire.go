package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/project"
	"runtimed/internal/pyreq"
	"runtimed/internal/redact"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func paramError(param, hint, message string) *rpc.Error {
	e := rpc.Errorf(rpc.KindInvalidParams, "%s", message).WithHint("%s", hint)
	e.Data.Param = param
	return e
}

// wireError translates an error of the pools, without secrets: a tool may quote an index or a proxy. For an unknown
// error the server sends internal_error and logs the rest.
func wireError(err error) error {
	e, ok := translate(err).(*rpc.Error)
	if !ok {
		return err
	}
	e.Message, e.Data.Hint, e.Data.Output = redact.Text(e.Message), redact.Text(e.Data.Hint), redact.Text(e.Data.Output)
	return e
}

func translate(err error) error {
	var (
		unknown *pool.UnknownPoolError
		off     *pool.OffError
		empty   *pool.EmptyError
		failed  *pool.FailedError
		owner   *proc.OwnerError
		kind    *pool.KindError
		request *pyreq.Error
		of      *project.Error
	)
	switch {
	case errors.As(err, &request):
		return paramError(request.Param, request.Hint, request.Message)
	case errors.As(err, &kind):
		return paramError("pool", "name a pool of the other kind; runt pool status lists them", err.Error())
	case errors.As(err, &of) && of.None:
		return rpc.Errorf(rpc.KindNoProject, "%s", err).WithHint("%s", of.Hint)
	case errors.As(err, &of):
		return paramError("project", of.Hint, err.Error())
	case errors.As(err, &owner):
		return paramError("owner_pid", cmp.Or(owner.Hint, "name a process of your own that runs"), err.Error())
	case errors.As(err, &unknown):
		e := rpc.Errorf(rpc.KindUnknownPool, "%s", err).WithHint("choose one of: %s", strings.Join(unknown.Pools, ", "))
		e.Data.Pools = unknown.Pools
		return e
	case errors.As(err, &off):
		return rpc.Errorf(rpc.KindPoolOff, "%s", err).WithHint("set size of pools.%s in the configuration", off.Name)
	case errors.As(err, &empty):
		waited := empty.Waited.Milliseconds()
		e := rpc.Errorf(rpc.KindPoolEmpty, "%s", err).WithHint("wait longer; runt pool status shows what is on its way")
		switch {
		case empty.Project:
			e = e.WithHint("ask again: the build of the project's environment goes on")
		case empty.Needs:
			e = e.WithHint("wait longer: a build for more than the pool gives ends when nobody waits for it any more")
		case empty.Lock:
			e = e.WithHint("wait longer; what an earlier version built has none: runt pool flush builds it anew")
		}
		e.Data.WaitedMS, e.Data.Warming = &waited, &empty.Warming
		return e
	case errors.As(err, &failed):
		e, b := rpc.Errorf(rpc.KindBuildFailed, "%s", err), failed.Build
		e.Data.Hint, e.Data.Cause, e.Data.Package, e.Data.Output = b.Hint, b.Cause, b.Package, b.Output
		if next := failed.NextRetry.Milliseconds(); failed.NextRetry >= 0 {
			e.Data.NextRetryMS = &next
		}
		return e
	case errors.Is(err, pool.ErrUnknownEnv):
		return rpc.Errorf(rpc.KindUnknownEnv, "%s", err).WithHint("runt env list shows what is leased")
	case errors.Is(err, pool.ErrClosed):
		return rpc.Errorf(rpc.KindShuttingDown, "%s", err).WithHint("try again when it is back")
	case errors.Is(err, pool.ErrOverloaded):
		return rpc.Errorf(rpc.KindOverloaded, "%s", err).WithHint("try again later")
	case errors.Is(err, context.Canceled):
		return rpc.Errorf(rpc.KindCancelled, "the request was cancelled")
	}
	return err
}

// projectsAtOnce bounds the memory for lock files that are read at the same time.
const projectsAtOnce = 4

func (m *methods) findProject(ctx context.Context, r project.Request) (*project.Project, error) {
	select {
	case m.projects <- struct{}{}:
		defer func() { <-m.projects }()
		return project.Find(r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// requestOf leaves the owner out.
func (m *methods) requestOf(ctx context.Context, p rpc.AcquireParams) (r pool.Request, err error) {
	r = pool.Request{
		Pool: builder.KindUV, Wait: rpc.DefaultWait, Linger: rpc.DefaultLinger,
		Label: value(p.Label), Key: value(p.Key), Session: value(p.Session), Standby: value(p.Standby),
	}
	if of := p.Project; of != nil {
		found, err := m.findProject(ctx, project.Request{
			Path: of.Path, Extras: of.Extras, Groups: of.Groups, Frozen: value(of.Frozen),
		})
		if err != nil {
			return r, err
		}
		r.Needs.Project, r.Pool = found.Bare(), found.Pool()
	}
	if p.Pool != nil {
		r.Pool = *p.Pool
	}
	asked := pyreq.Request{
		Packages: p.Packages, Requirements: value(p.Requirements), Script: value(p.Script), Python: value(p.Python),
	}
	if len(asked.Packages) > 0 || asked.Requirements != "" || asked.Script != "" { // else a hit need not wait for it
		asked.Conda = m.pools.kind(ctx, r.Pool) == builder.KindConda
	}
	needs, err := asked.Needs()
	r.Needs.Packages, r.Needs.Python, r.Needs.RequiresPython = needs.Packages, needs.Python, needs.RequiresPython
	if r.Needs.Hashed = needs.Locked; err == nil && len(needs.Locked) > 0 && p.Project != nil {
		return r, paramError("requirements", "add them to the project, whose own hashes count; or leave the hashes out",
			"requirements has hashes, which are not for what is added to a project")
	}
	if p.WaitMS != nil {
		r.Wait = time.Duration(*p.WaitMS) * time.Millisecond
	}
	if p.LingerMS != nil {
		r.Linger = time.Duration(*p.LingerMS) * time.Millisecond
	}
	return r, err
}

func acquireResult(g pool.Acquired) rpc.AcquireResult {
	r := rpc.AcquireResult{
		Env: envOf(g.Env), Source: rpc.SourceReady, Stale: g.Stale, WaitedMS: g.Waited.Milliseconds(),
		Added: packagesOf(g.Added), AddedMS: g.AddedIn.Milliseconds(), Standby: (*rpc.Standby)(g.Standby),
	}
	switch {
	case g.Resumed:
		r.Source = rpc.SourceResumed
	case g.Extended:
		r.Source = rpc.SourceExtended
	case g.Built:
		r.Source = rpc.SourceBuilt
	}
	return r
}

func statusResult(list []pool.Status) (r rpc.StatusResult) {
	for _, s := range list {
		r.Pools = append(r.Pools, statusOf(s))
	}
	return r
}

func statusOf(s pool.Status) rpc.PoolStatus {
	w := rpc.PoolStatus{
		Name: s.Name, Kind: s.Kind, Target: s.Target, Available: s.Available, Warming: s.Warming, Leased: s.Leased,
		Removing: s.Removing, Waiting: s.Waiting, State: s.State, Python: s.Python, Packages: s.Packages,
		Tool: (*rpc.Tool)(s.Tool), IdleMS: s.Idle.Milliseconds(), Lock: s.Lock,
		Counters: rpc.PoolCounters{
			Hits: s.Counters.Hits, Misses: s.Counters.Misses, WaitedMS: s.Counters.Waited.Milliseconds(),
			Builds: s.Counters.Builds, Failures: s.Counters.Failures,
		},
		Standby: rpc.StandbyStatus{
			Target: s.Standby.Target, Ready: s.Standby.Ready, Why: redact.Text(s.Standby.Why), Warnings: []string{},
		},
	}
	for _, fault := range s.Standby.Faults {
		w.Standby.Warnings = append(w.Standby.Warnings, redact.Text(fault))
	}
	if e := s.Error; e != nil {
		w.Error = &rpc.PoolError{
			Cause: e.Cause, Message: e.Message, Hint: e.Hint, Package: e.Package, Output: e.Output,
			Failures: e.Failures, Since: e.Since.UTC(),
			NextRetryMS: max(0, time.Until(e.NextRetry).Milliseconds()),
		}
	}
	return w
}

func listResult(infos []pool.Info) (r rpc.EnvListResult) {
	for _, info := range infos {
		listed := rpc.EnvListed{Env: envOf(info)}
		if info.SizeBytes > 0 {
			listed.SizeBytes = &info.SizeBytes
		}
		if l := info.Lease; l != nil {
			listed.Lease = &rpc.Lease{
				OwnerPID: l.Owner.PID, Alive: info.Alive, Where: info.Where, Label: l.Label, Session: l.Session,
				Since: l.LeasedAt.UTC(),
			}
			if !info.Until.IsZero() {
				until := info.Until.UTC()
				listed.Lease.KeptUntil = &until
			}
		}
		r.Envs = append(r.Envs, listed)
	}
	return r
}

func envOf(i pool.Info) rpc.Env {
	e := rpc.Env{
		ID: i.ID, Pool: i.Pool, Kind: i.Kind, Path: i.Path, Python: i.Python, PythonVersion: i.PythonVersion,
		State: string(i.State), CreatedAt: i.CreatedAt.UTC(), Packages: packagesOf(i.Packages),
		Variables: activated(i.Variables), PathPrepend: i.PathPrepend,
	}
	if i.Needs != nil {
		e.Needs = i.Needs.Packages
		if of := i.Needs.Project; of != nil {
			e.Project = &rpc.Project{Path: of.Path, File: of.File}
		}
	}
	return e
}

// elsewhere are variables that would have uv and pip install into another Python despite the activation.
var elsewhere = []string{
	"UV_SYSTEM_PYTHON", "UV_PYTHON", "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON",
}

// activated adds the variables that the user must unset, as null.
func activated(variables map[string]*string) map[string]*string {
	if variables == nil { // not built yet
		return nil
	}
	all := maps.Clone(variables)
	for _, name := range elsewhere {
		if _, told := all[name]; !told {
			all[name] = nil
		}
	}
	return all
}

func packagesOf(from []builder.Package) (to []rpc.Package) {
	for _, p := range from {
		to = append(to, rpc.Package(p))
	}
	return to
}

func gcResult(c pool.Collected) rpc.GCResult {
	return rpc.GCResult{Removed: itemsOf(c.Removed), Kept: c.Kept, Strays: itemsOf(c.Unmanaged)}
}

func itemsOf(from []pool.Item) (to []rpc.GCItem) {
	for _, i := range from {
		to = append(to, rpc.GCItem{ID: i.ID, Path: i.Path, Reason: i.Reason, SizeBytes: i.Size})
	}
	return to
}
