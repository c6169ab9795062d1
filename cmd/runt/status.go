package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"runtimed/internal/daemon"
	"runtimed/rpc"
)

// statusCmd is poolStatusCmd with the daemon.
type statusCmd struct {
	poolStatusCmd `embed:""`
}

func (statusCmd) Help() string {
	return "It prints what runt pool status prints, and which daemon answers. --json has what runt pool " +
		"status --json has, and the answer of daemon.info as the member daemon."
}

func (c *statusCmd) Run(a *app) error {
	rawInfo, err := a.Ask(rpc.MethodInfo, nil, 0)
	if err != nil {
		return err
	}
	rawPools, err := a.Ask(rpc.MethodStatus, c.params(), 0)
	if err != nil {
		return err
	}
	var info rpc.Info
	var pools rpc.StatusResult
	members := map[string]json.RawMessage{}
	err = cmp.Or(daemon.Decode(rawInfo, &info), daemon.Decode(rawPools, &pools), daemon.Decode(rawPools, &members))
	if err != nil {
		return err
	}
	members["daemon"] = rawInfo
	return a.show(members, func() {
		uptime := time.Duration(info.UptimeMS) * time.Millisecond
		answers := fmt.Sprintf("Daemon: version %s, pid %d, since %s (%s), socket %s", info.Version, info.PID,
			info.StartedAt.Local().Format(time.DateTime), age(uptime), info.Socket)
		writeStatus(a.stdout, pools.Pools, c.Verbose, answers)
	})
}
