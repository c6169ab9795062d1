package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/proc"
	"runtimed/rpc"
)

type poolCmd struct {
	Status  poolStatusCmd  `cmd:"" help:"Print how many environments are ready, and why a pool fails."`
	Acquire poolAcquireCmd `cmd:"" help:"Take an environment and print the path of its Python."`
	Release poolReleaseCmd `cmd:"" help:"Give an environment back before its owner ends."`
	Fill    poolFillCmd    `cmd:"" help:"Have the pools filled, and with --wait return once they are full."`
	Lock    poolLockCmd    `cmd:"" help:"Print the lock file that a pool is built from, with hashes."`
	Flush   poolFlushCmd   `cmd:"" help:"Drop the ready environments and build new ones."`
	Watch   poolWatchCmd   `cmd:"" help:"Print the status again whenever it changes."`
	Metrics poolMetricsCmd `cmd:"" help:"Print counters and gauges of the pools for Prometheus."`
}

type onePool struct {
	Name *string `arg:"" optional:"" placeholder:"NAME" complete:"pools" help:"This pool only."`
	Pool *string `placeholder:"NAME" complete:"pools" help:"The same as NAME."`
}

func (o *onePool) Validate() error {
	if o.Name != nil && o.Pool != nil && *o.Name != *o.Pool {
		return fmt.Errorf("two pools are named, %s and %s", *o.Name, *o.Pool)
	}
	return nil
}

func (o *onePool) params() rpc.PoolParams { return rpc.PoolParams{Pool: cmp.Or(o.Name, o.Pool)} }

type poolStatusCmd struct {
	onePool `embed:""`
	Verbose bool `short:"v" help:"Also print the standby kernels, why there are too few, and the lock's hash."`
}

func (c *poolStatusCmd) Run(a *app) error {
	return ask(a, rpc.MethodStatus, c.params(), func(r rpc.StatusResult) {
		writeStatus(a.stdout, r.Pools, c.Verbose)
	})
}

type takeFlags struct {
	Pool    *string        `placeholder:"NAME" complete:"pools" help:"Take it from this pool (default: uv)."`
	Wait    *time.Duration `placeholder:"30s" help:"How long to wait for one (default: 60s; 0s: not at all)."`
	NoStart bool           `help:"Do not start a daemon where none runs."`
}

func (f *takeFlags) Validate() error {
	if w := f.Wait; w != nil && (*w < 0 || *w > rpc.MaxWait) {
		return fmt.Errorf("--wait must be 0s to %s, got %s", rpc.MaxWait, *w)
	}
	return nil
}

func (f *takeFlags) params() (rpc.AcquireParams, time.Duration) {
	key, wait := rand.Text(), rpc.DefaultWait
	params := rpc.AcquireParams{Pool: f.Pool, Key: &key}
	if f.Wait != nil {
		ms := f.Wait.Milliseconds()
		params.WaitMS, wait = &ms, *f.Wait
	}
	return params, wait
}

type poolAcquireCmd struct {
	Name      *string `arg:"" optional:"" placeholder:"NAME" complete:"pools" help:"The same as --pool."`
	takeFlags `embed:""`
	needFlags `embed:""`
	OwnerPID  *int    `name:"owner-pid" placeholder:"PID" help:"${poolAcquireOwnerPID}"`
	Label     *string `placeholder:"TEXT" help:"A note that 'runt env list' shows."`
}

func (c *poolAcquireCmd) Validate() error {
	one := onePool{c.Name, c.Pool}
	return cmp.Or(one.Validate(), c.takeFlags.Validate())
}

func (c *poolAcquireCmd) Run(a *app) error {
	c.Pool = cmp.Or(c.Name, c.Pool)
	params, wait := c.params()
	params.OwnerPID, params.Label = c.OwnerPID, c.Label
	if err := c.addTo(a, &params); err != nil {
		return err
	}
	if params.OwnerPID == nil {
		pid := proc.CallingShell()
		if pid <= 0 {
			return failure.New("the process that called runt cannot be seen from here").
				WithHint("name one with --owner-pid; or use runt run, where the command itself holds the environment")
		}
		params.OwnerPID = &pid
	}
	since := time.Now()
	client, r, raw, err := a.takeFor(c.needFlags, c.takeFlags, params, wait)
	if err != nil {
		if a.Ctx.Err() != nil {
			a.TakeBack(params, since)
		}
		return err
	}
	defer client.Close()
	err = answer(a, raw, func(rpc.AcquireResult) {
		if r.Stale {
			fmt.Fprintln(a.stderr,
				"runt: note: it has the packages of an earlier configuration; see why with: runt pool status")
		}
		a.tellAdded(r)
		fmt.Fprintln(a.stdout, r.Env.Python)
	})
	if a.stdout.err != nil { // nobody will ever know of it
		_, _ = a.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0)
	}
	return err
}

type poolReleaseCmd struct {
	IDs []string `arg:"" name:"id" complete:"leased" help:"The ids of the environments, as 'runt env list' shows them."`
}

// Run releases the others too if one cannot be released.
func (c *poolReleaseCmd) Run(a *app) error {
	failed := &failure.Error{}
	for _, id := range c.IDs {
		err := ask(a, rpc.MethodRelease, rpc.EnvParams{Env: id}, func(rpc.None) { a.printf("released %s\n", id) })
		if err == nil {
			continue
		}
		f := *failure.Of(err)
		if f.Code == failure.Unreachable {
			return &f
		}
		if len(c.IDs) > 1 {
			f.Message = id + ": " + f.Message
		}
		if failed.Message != "" {
			failed.Message += "\n" + f.Message
		} else {
			failed = &f
		}
	}
	if failed.Message == "" {
		return nil
	}
	return failed
}

type poolLockCmd struct {
	Name *string        `arg:"" optional:"" placeholder:"NAME" complete:"pools" help:"This pool (default: uv)."`
	Pool *string        `placeholder:"NAME" complete:"pools" help:"The same as NAME."`
	Wait *time.Duration `placeholder:"30s" help:"How long to wait for the first build (default: 60s; 0s: not at all)."`
}

func (poolLockCmd) Help() string {
	return "A pool with lock = \"FILE\" in its configuration is built from such a file, here or on another machine. " +
		"Its hash is in runt pool status --json, and is what sha256sum makes of what this prints."
}

func (c *poolLockCmd) Validate() error {
	return cmp.Or((&onePool{c.Name, c.Pool}).Validate(), (&takeFlags{Wait: c.Wait}).Validate())
}

func (c *poolLockCmd) Run(a *app) error {
	params, wait := (&takeFlags{Wait: c.Wait}).params()
	raw, err := a.Ask(rpc.MethodLock, rpc.LockParams{Pool: cmp.Or(c.Name, c.Pool), WaitMS: params.WaitMS}, wait)
	if err != nil {
		return err
	}
	return answer(a, raw, func(r rpc.LockResult) { fmt.Fprint(a.stdout, r.Text) })
}

type poolFlushCmd struct {
	onePool `embed:""`
}

func (c *poolFlushCmd) Run(a *app) error {
	return ask(a, rpc.MethodFlush, c.params(), func(r rpc.FlushResult) {
		fmt.Fprintln(a.stdout, "removed", r.Removed)
	})
}

// takeFor is take, and then for the plain pool where there is no project.
func (a *app) takeFor(need needFlags, f takeFlags, params rpc.AcquireParams, wait time.Duration) (
	c *rpc.Client, r rpc.AcquireResult, raw json.RawMessage, err error,
) {
	c, r, raw, err = a.take(f, params, wait)
	if rpc.KindOf(err) == rpc.KindNoProject && need.fallsBack() {
		a.Note("%s", withoutProject(params.Pool))
		params.Project = nil
		return a.take(f, params, wait)
	}
	return c, r, raw, err
}

func (a *app) take(f takeFlags, params rpc.AcquireParams, wait time.Duration) (
	c *rpc.Client, r rpc.AcquireResult, raw json.RawMessage, err error,
) {
	var p daemon.Progress
	if shown := a.progress(); shown != nil {
		defer shown.end()
		p = daemon.Progress{Notify: shown.notify, Say: shown.say}
	}
	if c, raw, err = a.Control.Take(f.NoStart, p, params, wait); err != nil {
		return nil, r, nil, err
	}
	if err = daemon.Decode(raw, &r); err != nil {
		c.Close()
	}
	return c, r, raw, err
}
