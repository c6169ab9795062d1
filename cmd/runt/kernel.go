package main

import (
	"path/filepath"
	"time"

	"runtimed/internal/failure"
	"runtimed/kernel"
	"runtimed/rpc"
)

type kernelCmd struct {
	File      string        `short:"f" placeholder:"FILE" help:"The connection file, which the front-end has written."`
	Pool      *string       `placeholder:"NAME" complete:"pools" help:"${kernelPool}"`
	Wait      time.Duration `default:"45s" help:"How long to wait for one. Front-ends give up after 60s."`
	OnRestart string        `enum:"keep,fresh" default:"keep" help:"${kernelOnRestart}"`
	NoStandby bool          `help:"${kernelNoStandby}"`
	NoStart   bool          `help:"Do not start a daemon where none runs."`
	needFlags `embed:""`
	Args      []string `arg:"" optional:"" passthrough:"" help:"Further arguments for ipykernel, after --."`
}

func (kernelCmd) Help() string {
	return "A notebook front-end starts it through a kernelspec that 'runt kernelspec install' writes. It takes an " +
		"environment, which ends with the kernel. If that holds a standby kernel, which has done its imports, that " +
		"one becomes the kernel, and runt stays in front of it: it passes signals on, and ends as the kernel does. " +
		"Otherwise runt becomes ipykernel itself; with RUNTIMED_LOG_LEVEL=debug it says why on stderr. A kernel " +
		"that is restarted with the same connection file within a minute continues in the same environment. If no " +
		"environment can be had, the first cell says why."
}

func (c *kernelCmd) Run(a *app) error {
	if c.File == "" {
		return failure.With(failure.Usage,
			"no connection file: runt kernel is what a notebook front-end starts, with -f FILE").
			WithHint("make the warm kernels known to Jupyter with: runt kernelspec install")
	}
	if c.Wait < 0 || c.Wait > rpc.MaxWait {
		return failure.With(failure.Usage, "--wait must be 0s to %s, got %s", rpc.MaxWait, c.Wait).
			WithHint("see: runt kernel --help")
	}
	file, err := filepath.Abs(c.File)
	if err != nil {
		return err
	}
	if len(c.Args) > 0 && c.Args[0] != "--" {
		return failure.With(failure.Usage, "unexpected argument %s", c.Args[0]).
			WithHint("what is for ipykernel comes after --; see: runt kernel --help")
	}
	k := &kernel.Kernel{File: file, Pool: c.Pool, Wait: c.Wait, Fresh: c.OnRestart == "fresh", Plain: c.NoStandby}
	k.Debug = func(format string, args ...any) {
		if a.Env("RUNTIMED_LOG_LEVEL") == "debug" {
			a.Note(format, args...)
		}
	}
	if len(c.Args) > 0 {
		k.Args = c.Args[1:]
	}
	k.Needs = func(params *rpc.AcquireParams) error { return c.addTo(a, params) }
	k.Take = func(params rpc.AcquireParams, wait time.Duration) (*rpc.Client, rpc.AcquireResult, error) {
		client, r, _, err := a.take(takeFlags{NoStart: c.NoStart}, params, wait)
		if rpc.KindOf(err) == rpc.KindNoProject && c.fallsBack() {
			k.Banner = "Note: " + withoutProject(params.Pool) + "."
			a.Note("%s", withoutProject(params.Pool))
			wait = kernel.Patience(a.Control, params.Pool, wait)
			ms := wait.Milliseconds()
			params.Project, params.WaitMS = nil, &ms
			client, r, _, err = a.take(takeFlags{NoStart: c.NoStart}, params, wait)
		}
		return client, r, err
	}
	kernel.ForFrontEnd(a.Control, a.stdin)
	why := k.Start(a.Control)
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	a.report(why) // also where the front-end keeps its kernels' stderr
	return k.ServeFailure(a.Ctx, failure.Of(why))
}
