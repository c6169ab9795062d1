package main

import (
	"os"
	"path/filepath"

	"runtimed/internal/command"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/tool"
	"runtimed/rpc"
)

type runCmd struct {
	takeFlags `embed:""`
	needFlags `embed:""`
	Command   []string `arg:"" passthrough:"" placeholder:"CMD" help:"The command and its arguments; a script, which is a file that ends with .py; -m and a module; or -, a script on standard input."`
}

func (runCmd) Help() string {
	return "runt becomes the command: the environment is its own, and ends with it. A script is run by the environment's Python, which has " +
		"what the script itself says that it needs (PEP 723)."
}

func (c *runCmd) Run(a *app) error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return &failure.Error{Code: failure.Usage, Message: "no command to run", Hint: "see: runt run --help"}
	}
	params, wait := c.params()
	if label := filepath.Base(argv[0]); len(label) <= rpc.MaxLabel && label == redact.Printable(label) {
		params.Label = &label
	}
	if err := c.addTo(a, &params); err != nil {
		return err
	}
	what, err := command.Resolve(argv, &params, a.stdin)
	if err != nil {
		return err
	}
	client, raw, err := a.take(c.takeFlags, params, wait)
	if err != nil {
		return err
	}
	defer client.Close()
	var r rpc.AcquireResult
	if err := daemon.Decode(raw, &r); err != nil {
		return err
	}
	a.tellAdded(r)
	environ := command.Environ(os.Environ(), r.Env)
	if argv = what.Argv; what.Python {
		argv = append([]string{r.Env.Python}, argv...)
	}
	program, err := command.LookUp(argv[0], tool.Lookup(environ, "PATH"))
	if err == nil {
		if a.Ctx.Err() != nil {
			err = a.Ctx.Err()
		} else {
			err = command.Become(program, argv, environ, what.Stdin)
		}
	}
	// Only a failure comes back. The lease is ours and would end with us; this way it ends at once.
	a.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0)
	return command.CannotRun(argv[0], err)
}
