package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/pyreq"
	"runtimed/internal/redact"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

var pid = os.Getpid()

// value is what a parameter says, or the zero value where it was not given.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// wireError is an error of the pools as it travels, without secrets: what a tool said may quote an index or a proxy.
func wireError(err error) error {
	e, ok := asWireError(err).(*rpc.Error)
	if !ok {
		return err
	}
	e.Message, e.Data.Hint, e.Data.Output = redact.Text(e.Message), redact.Text(e.Data.Hint), redact.Text(e.Data.Output)
	return e
}

func asWireError(err error) error {
	var (
		unknown *pool.UnknownPoolError
		off     *pool.OffError
		empty   *pool.EmptyError
		failed  *pool.FailedError
		owner   *proc.OwnerError
		needs   *pool.NeedsError
		request *pyreq.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &request):
		e := rpc.Errorf(rpc.KindInvalidParams, "%s", request.Message).WithHint("%s", request.Hint)
		e.Data.Param = request.Param
		return e
	case errors.As(err, &unknown):
		e := rpc.Errorf(rpc.KindUnknownPool, "%s", err).WithHint("choose one of: %s", strings.Join(unknown.Pools, ", "))
		e.Data.Pools = unknown.Pools
		return e
	case errors.As(err, &off):
		return rpc.Errorf(rpc.KindPoolOff, "%s", err).WithHint("set size of pools.%s in the configuration", off.Name)
	case errors.As(err, &needs):
		e := rpc.Errorf(rpc.KindInvalidParams, "%s",
			err).WithHint("take it from a pool of the kind uv, or name the packages in pools.%s of the configuration",
			needs.Pool)
		e.Data.Param = "packages"
		return e
	case errors.As(err, &empty):
		waited := empty.Waited.Milliseconds()
		e := rpc.Errorf(rpc.KindPoolEmpty, "%s", err).WithHint("wait longer; runt pool status shows what is on its way")
		if empty.Needs {
			e = e.WithHint("wait longer: a build for more than the pool gives ends when nobody waits for it any more")
		}
		e.Data.WaitedMS, e.Data.Warming = &waited, &empty.Warming
		return e
	case errors.As(err, &failed):
		e := rpc.Errorf(rpc.KindBuildFailed, "%s", err)
		e.Data.Hint, e.Data.Cause, e.Data.Package, e.Data.Output = failed.Build.Hint, failed.Build.Cause,
			failed.Build.Package, failed.Build.Output
		if next := failed.NextRetry.Milliseconds(); failed.NextRetry >= 0 {
			e.Data.NextRetryMS = &next
		}
		return e
	case errors.As(err, &owner):
		e := rpc.Errorf(rpc.KindInvalidParams, "%s", err).WithHint("%s",
			cmp.Or(owner.Hint, "name a process of your own that runs"))
		e.Data.Param = "owner_pid"
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
	return err // the server says internal_error, and has the rest in its log
}

func statusResult(list []pool.Status) rpc.StatusResult {
	r := rpc.StatusResult{Pools: []rpc.PoolStatus{}}
	for _, s := range list {
		r.Pools = append(r.Pools, statusOf(s))
	}
	return r
}

func statusOf(s pool.Status) rpc.PoolStatus {
	w := rpc.PoolStatus{
		Name: s.Name, Kind: s.Kind, Target: s.Target, Available: s.Available, Warming: s.Warming, Leased: s.Leased,
		Removing: s.Removing, Waiting: s.Waiting, State: s.State, Python: s.Python, Packages: s.Packages,
	}
	if t := s.Tool; t != nil {
		w.Tool = &rpc.Tool{Name: t.Name, Version: t.Version, Path: t.Path, Why: t.Why}
	}
	if e := s.Error; e != nil {
		w.Error = &rpc.PoolError{
			Cause: e.Cause, Message: e.Message, Hint: e.Hint, Package: e.Package, Output: e.Output,
			Failures: e.Failures,
			Since:    e.Since.UTC(), NextRetryMS: max(0, time.Until(e.NextRetry).Milliseconds()),
		}
	}
	return w
}

func envOf(i pool.Info) rpc.Env {
	e := rpc.Env{
		ID: i.ID, Pool: i.Pool, Kind: i.Kind, Path: i.Path, Python: i.Python, PythonVersion: i.PythonVersion,
		State:     string(i.State),
		CreatedAt: i.CreatedAt.UTC(), Packages: packagesOf(i.Packages), Variables: activated(i.Variables),
		PathPrepend: i.PathPrepend,
	}
	if i.Needs != nil {
		e.Needs = i.Needs.Packages
	}
	return e
}

// elsewhere are the variables of a caller that would have uv and pip install into another Python than that of the
// environment, though it is activated.
var elsewhere = []string{"UV_SYSTEM_PYTHON", "UV_PYTHON", "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT",
	"PIP_PYTHON"}

// activated are the variables of an environment, and those that must not stay in its users'.
func activated(variables map[string]*string) map[string]*string {
	if variables == nil { // it is not built yet
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
		to = append(to, rpc.Package{Name: p.Name, Version: p.Version})
	}
	return to
}

func gcResult(c pool.Collected) rpc.GCResult {
	items := func(from []pool.Item) []rpc.GCItem {
		to := []rpc.GCItem{}
		for _, i := range from {
			to = append(to, rpc.GCItem{ID: i.ID, Path: i.Path, Reason: i.Reason, SizeBytes: i.Size})
		}
		return to
	}
	return rpc.GCResult{Removed: items(c.Removed), Kept: c.Kept, Strays: items(c.Unmanaged)}
}
