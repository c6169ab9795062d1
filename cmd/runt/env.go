package main

import (
	"slices"
	"time"

	"runtimed/internal/safefile"
	"runtimed/rpc"
)

type envCmd struct {
	List envListCmd `cmd:"" help:"List environments, with who holds them."`
	GC   envGCCmd   `cmd:"" name:"gc" help:"Remove the folders that nobody needs any more."`
}

type envListCmd struct {
	onePool `embed:""`
	State   string `enum:",warming,ready,leased,removing" default:"" help:"${envListState}"`
}

func (c *envListCmd) Run(a *app) error {
	params := rpc.EnvListParams{Pool: c.params().Pool}
	if c.State != "" {
		params.State = &c.State
	}
	return ask(a, rpc.MethodEnvList, params, func(r rpc.EnvListResult) {
		writeEnvs(a.stdout, r.Envs, time.Now())
		elsewhere := func(e rpc.EnvListed) bool { return e.Lease != nil && e.Lease.Where != "" }
		if i := slices.IndexFunc(r.Envs, elsewhere); i >= 0 {
			a.Hint("the daemon cannot see whether an owner elsewhere has ended; if it has, end its lease with: "+
				"runt pool release %s", r.Envs[i].ID)
		}
	})
}

type envGCCmd struct {
	DryRun bool `help:"Only say what would be removed."`
}

// deleteTime allows for thousands of files on a slow disk.
const deleteTime = 5 * time.Minute

func (c *envGCCmd) Run(a *app) error {
	raw, err := a.Ask(rpc.MethodGC, rpc.GCParams{DryRun: &c.DryRun}, deleteTime)
	if err != nil {
		return err
	}
	return answer(a, raw, func(r rpc.GCResult) {
		verb := "removed"
		if c.DryRun {
			verb = "would remove"
		}
		for _, item := range r.Removed {
			a.printf("%s %s (%s): %s\n", verb, item.Path, safefile.Size(item.SizeBytes), item.Reason)
		}
		for _, item := range r.Strays {
			a.printf("left alone %s (%s): %s\n", item.Path, safefile.Size(item.SizeBytes), item.Reason)
		}
		a.printf("%s %d, kept %d\n", verb, len(r.Removed), r.Kept)
	})
}
