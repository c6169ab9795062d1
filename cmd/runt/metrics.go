package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/metrics"
	"runtimed/rpc"
)

type poolMetricsCmd struct{}

func (poolMetricsCmd) Help() string {
	return "It prints the daemon's pools in the text format of Prometheus, for the textfile collector of " +
		"node_exporter, which must never see half a file: print into another file, and rename that. It starts no " +
		"daemon: without one it prints nothing, and its exit code is 3. The counters start at 0 with each daemon. " +
		"--json has what runt pool status --json has."
}

func (poolMetricsCmd) Run(a *app) error {
	if !a.LockHeld() { // else a service manager that listens would start one
		return failure.With(failure.Unreachable, "the daemon is not running").WithHint("%s", a.HowToStart())
	}
	rawInfo, err := a.Ask(rpc.MethodInfo, nil, 0)
	if err != nil {
		return err
	}
	var info rpc.Info
	if err := daemon.Decode(rawInfo, &info); err != nil {
		return err
	}
	return ask(a, rpc.MethodStatus, rpc.PoolParams{}, func(r rpc.StatusResult) {
		fmt.Fprint(a.stdout, metrics.Text(info, r.Pools, ownID()))
	})
}

// ownID tells the daemons of several users apart.
func ownID() string {
	if u, err := user.Current(); err == nil {
		return u.Uid
	}
	return strconv.Itoa(os.Getuid())
}
