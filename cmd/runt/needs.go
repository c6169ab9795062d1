package main

import (
	"fmt"
	"strings"
	"time"

	"runtimed/internal/command"
	"runtimed/rpc"
)

// needFlags say what an environment shall have beyond what its pool gives, for the commands that take one.
type needFlags struct {
	With             []string `placeholder:"REQ" sep:"none" help:"Have this package in it as well: numpy, 'rich>=13,<14'. May be given again; commas part several."`
	WithRequirements []string `placeholder:"FILE" sep:"none" help:"Have what this requirements file names in it as well (-: standard input)."`
	Python           string   `placeholder:"VERSION" help:"Have this Python: 3.12, '>=3.11,<3.14' or a path (default: the pool's)."`
}

// tellAdded says what was installed, to a person who has waited for it.
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

func (f needFlags) addTo(a *app, params *rpc.AcquireParams) error {
	return command.Needs(f).AddTo(params, a.stdin, a.Env)
}
