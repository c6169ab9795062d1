package main

import (
	"fmt"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

type daemonLogLevelCmd struct {
	Level string `arg:"" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
}

func (daemonLogLevelCmd) Help() string {
	return "It holds until the daemon's next start; log_level in the configuration is for every start."
}

func (c *daemonLogLevelCmd) Run(a *app) error {
	err := ask(a, rpc.MethodSetLogLevel, rpc.LogLevel{Level: c.Level}, func(r rpc.LogLevel) {
		fmt.Fprintln(a.stdout, "logging from", redact.Printable(r.Level), "on, until the next start")
	})
	if rpc.KindOf(err) == rpc.KindMethodNotFound {
		return failure.New("the daemon is older than this runt, and has but the level of its start").
			WithHint("swap it for the daemon of this runt: runt daemon restart")
	}
	return err
}
