package main

import (
	"cmp"
	"fmt"

	"runtimed/internal/bugreport"
	"runtimed/rpc"
)

type bugreportCmd struct {
	Output string `short:"o" type:"path" placeholder:"FILE" help:"${bugreportOutput}"`
}

func (bugreportCmd) Help() string {
	return "It holds the versions, the system, the daemon's answers, the configuration, the findings of the doctor, " +
		"the last lines of the log, the service's files, and the names and sizes of what is in the state directory; " +
		"no file of an environment. Passwords and tokens are removed, as far as they can be recognized."
}

func (c *bugreportCmd) Run(a *app) error {
	b := bugreport.New(a.Control, rpc.VersionLine("runt"))
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	path := cmp.Or(c.Output, b.Name()+".tar.gz")
	if err := b.Write(path); err != nil {
		return err
	}
	fmt.Fprint(a.stderr, "runt: note: passwords, tokens, variables named like secrets, your home directory and "+
		"your user name are removed\nrunt: note: a secret of another form may be left: read the report before "+
		"you send it\n")
	names, failed := b.Files()
	return a.show(struct {
		Path   string   `json:"path"`
		Files  []string `json:"files"`
		Failed []string `json:"failed"`
	}{path, names, failed}, func() { fmt.Fprintln(a.stdout, path) })
}
