package builder

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strings"

	"runtimed/internal/tool"
	"runtimed/pool/standby"
)

// Kept is where a build leaves the process of its import check, which stays as a standby kernel.
type Kept struct {
	// Wanted are variables that the process is started with besides those of builds; nil: without it.
	Wanted map[string]*string

	process Process
}

// Process is a Python that has passed the import check and stays: a [standby.Process], except in tests.
type Process interface {
	PID() int
	Stay(listener *net.UnixListener, path string, modules []string, event func(standby.Event)) error
	End()
}

type keptKey struct{}

// Keep has the import checks of a build or a check leave their process in k.
func Keep(ctx context.Context, k *Kept) context.Context { return context.WithValue(ctx, keptKey{}, k) }

// KeptIn is the k that ctx was given by Keep, or nil.
func KeptIn(ctx context.Context) *Kept {
	k, _ := ctx.Value(keptKey{}).(*Kept)
	return k
}

// Start runs an import check. Its process replaces one of an earlier try.
func (k *Kept) Start(ctx context.Context, c standby.Command) (said standby.Says, output string, err error) {
	k.End()
	c.Vars = expected(c.Vars, k.Wanted)
	p, said, output, err := standby.Start(ctx, c)
	if err == nil {
		k.Leave(p)
	}
	return said, output, err
}

// expected are the variables that the next front-end is expected to have: those of builds, and what the one before
// wanted. Most are written in Python, which gives its children a locale where there is none (PEP 538).
func expected(vars []string, wanted map[string]*string) []string {
	vars = slices.DeleteFunc(slices.Clone(vars), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, ours := wanted[tool.FoldName(name)]
		return ours
	})
	for name, value := range wanted {
		if value != nil {
			vars = append(vars, name+"="+*value)
		}
	}
	const locale = "LC_CTYPE"
	none := tool.Lookup(vars, "LC_ALL") == "" && tool.Lookup(vars, locale) == "" &&
		slices.Contains([]string{"", "C", "POSIX"}, tool.Lookup(vars, "LANG"))
	if _, told := wanted[locale]; none && !told && runtime.GOOS == "linux" {
		vars = append(vars, locale+"=C.UTF-8")
	}
	return vars
}

// Leave leaves the process of a check that passed.
func (k *Kept) Leave(p Process) { k.process = p }

// Take returns the process, or nil where none passed the check.
func (k *Kept) Take() Process {
	p := k.process
	k.process = nil
	return p
}

// End ends the process, if there is one.
func (k *Kept) End() {
	if p := k.Take(); p != nil {
		p.End()
	}
}
