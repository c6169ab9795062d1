package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/command"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/tool"
	"runtimed/rpc"
)

type runCmd struct {
	takeFlags `embed:""`
	needFlags `embed:""`
	Command   []string `arg:"" optional:"" passthrough:"" placeholder:"CMD" help:"${runCommand}"`
}

func (runCmd) Help() string {
	return "runt becomes the command: the environment is its own, and ends with it. A script is run by the " +
		"environment's Python, which has what the script itself asks for (PEP 723)."
}

func (c *runCmd) Run(a *app) error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		e := failure.With(failure.Usage, "no command to run").WithHint("see: runt run --help")
		if c.Project.Dir != "" {
			e = e.WithHint("%s was taken for the project's folder; if it is the command: runt run --project -- %s",
				c.Project.Dir, c.Project.Dir)
		}
		return e
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
	client, r, _, err := a.takeFor(c.needFlags, c.takeFlags, params, wait)
	if err != nil {
		return err
	}
	defer client.Close()
	a.tellAdded(r)
	environ := command.Environ(os.Environ(), r.Env)
	if argv = what.Argv; what.Python {
		argv = append([]string{r.Env.Python}, argv...)
	}
	program, err := command.LookUp(argv[0], tool.Lookup(environ, "PATH"))
	if err = cmp.Or(err, a.Ctx.Err()); err == nil {
		err = command.Become(program, argv, environ, what.Stdin)
	}
	// Only a failure comes back. The lease would end with us; this way it ends at once.
	_, _ = a.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0)
	return command.CannotRun(argv[0], err)
}

func (a *app) tellAdded(r rpc.AcquireResult) {
	if r.Source != rpc.SourceExtended || len(r.Added) == 0 || !a.redraws(a.stderr) {
		return
	}
	const most = 3
	var names []string
	for _, p := range r.Added[:min(most, len(r.Added))] {
		names = append(names, p.Name+" "+p.Version)
	}
	text := strings.Join(names, ", ")
	if more := len(r.Added) - most; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	took := time.Duration(r.AddedMS) * time.Millisecond
	a.Note("added %s in %.1f s", text, took.Seconds())
}
