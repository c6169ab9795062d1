package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"runtimed/internal/command"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/project"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

// projectFlag is --project with a folder or without one.
type projectFlag struct {
	Given bool
	Dir   string // empty: the notebook's, or the present one
}

// Decode takes the next word if it is a folder: what follows --project may be the command.
func (f *projectFlag) Decode(ctx *kong.DecodeContext) error {
	f.Given, f.Dir = true, ""
	next := ctx.Scan.Peek()
	word, isText := next.Value.(string)
	switch {
	case next.Type == kong.FlagValueToken:
	case !isText || next.Type == kong.EOLToken || word == "" || strings.HasPrefix(word, "-"):
		return nil
	case !isFolder(word) && !isLast(ctx.Scan):
		return nil
	}
	ctx.Scan.Pop()
	if word != auto {
		f.Dir = word
	}
	return nil
}

const auto = "auto" // the value of --project that names no folder

// isFolder reports whether a word means a folder, or a project's file, rather than a command.
func isFolder(word string) bool {
	info, err := os.Stat(word)
	switch path := strings.ContainsRune(filepath.ToSlash(word), '/'); {
	case word == auto || word == "." || word == "..":
		return true
	case err == nil && !info.IsDir():
		return slices.Contains(project.Kinds, filepath.Base(word))
	case path:
		return true
	case err != nil:
		return false
	}
	_, err = exec.LookPath(word)
	return err != nil // else both are meant, and a folder can be written with a slash
}

// isLast reports whether -- follows the next word.
func isLast(scan *kong.Scanner) bool {
	rest := scan.PeekAll()
	return len(rest) > 1 && rest[1].String() == "--"
}

// needFlags say what an environment must have.
type needFlags struct {
	With             []string `placeholder:"REQ" sep:"none" help:"${needWith}"`
	WithRequirements []string `placeholder:"FILE" sep:"none" help:"${needWithRequirements}"`
	Python           string   `placeholder:"VERSION" help:"${needPython}"`

	Project      projectFlag `placeholder:"[DIR]" help:"${needProject}"`
	projectParts `embed:""`
}

// projectParts say which parts of a project are wanted.
type projectParts struct {
	Extra  []string `placeholder:"NAME" help:"With this extra of the project. May be repeated."`
	Group  []string `placeholder:"NAME" help:"With this group of the project's dependencies. May be repeated."`
	Frozen bool     `help:"Use the project's lock file even if it is older than the project."`
}

func (p projectParts) any() bool { return len(p.Extra) > 0 || len(p.Group) > 0 || p.Frozen }

// fallsBack reports whether the plain pool will do where there is no project.
func (f needFlags) fallsBack() bool {
	return f.Project.Given && f.Project.Dir == "" && !f.projectParts.any()
}

func (f needFlags) addTo(a *app, params *rpc.AcquireParams) error {
	err := command.Needs{With: f.With, WithRequirements: f.WithRequirements, Python: f.Python}.
		AddTo(params, a.stdin, a.Env)
	switch {
	case err != nil:
		return err
	case !f.Project.Given && f.projectParts.any():
		return failure.With(failure.Usage, "--extra, --group and --frozen are for a project").
			WithHint("name it with --project")
	case !f.Project.Given:
		return nil
	}
	path, err := command.ProjectPath(f.Project.Dir, a.Env)
	params.Project = &rpc.ProjectParams{Path: path, Extras: f.Extra, Groups: f.Group}
	if f.Frozen {
		params.Project.Frozen = &f.Frozen
	}
	return err
}

// withoutProject says what somebody gets who is in no project.
func withoutProject(pool *string) string {
	name := project.DefaultPool
	if pool != nil {
		name = *pool
	}
	return fmt.Sprintf("there is no project here: this environment has the packages of the pool %s", name)
}

type projectCmd struct {
	Dir          string `arg:"" optional:"" placeholder:"DIR" help:"${projectDir}"`
	projectParts `embed:""`
}

func (projectCmd) Help() string {
	return "It looks upward from DIR for the first of: " + strings.Join(project.Kinds, ", ") + ". runt run " +
		"--project, runt kernel --project and the kernel 'Python (project)' give an environment of that project, " +
		"from its lock file where it has one."
}

// projectShown is the answer of runt project.
type projectShown struct {
	*project.Project
	Pool     string       `json:"pool"`
	Locked   bool         `json:"locked"`
	Indexes  []string     `json:"indexes"`
	Skipped  []string     `json:"skipped"`
	Packages int          `json:"packages"` // in the lock file; 0: unknown
	Envs     []projectEnv `json:"envs"`
}

type projectEnv struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

func (c *projectCmd) Run(a *app) error {
	path, err := command.ProjectPath(c.Dir, a.Env)
	if err != nil {
		return err
	}
	p, err := project.Find(project.Request{Path: path, Extras: c.Extra, Groups: c.Group, Frozen: c.Frozen})
	if err != nil {
		e := failure.New("%v", err)
		if said, ok := err.(*project.Error); ok {
			e.Hint = said.Hint
			if said.None {
				e.Code = failure.Unknown
			}
		}
		return e
	}
	s := projectShown{
		Project: p, Pool: p.Pool(), Locked: p.Locked(), Packages: p.Count, Envs: []projectEnv{},
		Indexes: append([]string{}, redact.Texts(p.Indexes)...), Skipped: append([]string{}, p.Skipped...),
	}
	var list rpc.EnvListResult
	raw, unreachable := a.Ask(rpc.MethodEnvList, rpc.EnvListParams{}, 0)
	if unreachable == nil { // else there are none to show
		if err := daemon.Decode(raw, &list); err != nil {
			return err
		}
	}
	for _, e := range list.Envs {
		if e.Project != nil && e.Project.File == p.File && e.State != rpc.EnvRemoving {
			s.Envs = append(s.Envs, projectEnv{e.ID, e.State})
		}
	}
	return a.show(s, func() { a.writeProject(s, path, unreachable) })
}

func (a *app) writeProject(s projectShown, from string, unreachable error) {
	line := func(name, format string, args ...any) {
		a.printf("%-9s %s\n", name, redact.Printable(fmt.Sprintf(format, args...)))
	}
	line("project", "%s", s.Path)
	line("found", "%s, the first on the way up from %s", s.File, from)
	for _, why := range s.Skipped {
		line("skipped", "%s", why)
	}
	line("pool", "%s", s.Pool)
	if python := strings.Trim(s.Python+", "+s.RequiresPython, ", "); python != "" {
		line("python", "%s", python)
	}
	what := "what " + filepath.Base(s.File) + " says"
	switch {
	case s.Locked && s.Packages > 0:
		what += fmt.Sprintf(": up to %d packages, as they are locked", s.Packages)
	case s.Locked:
		what += ", as it is locked"
	default:
		what += "; there is no lock file, so versions are resolved, and kept for some time"
	}
	line("packages", "%s; ipykernel, if it is not among them", what)
	if len(s.Extras)+len(s.Groups) > 0 {
		line("with", "%s", strings.Join(slices.Concat(s.Extras, s.Groups), ", "))
	}
	for _, index := range s.Indexes {
		line("index", "%s", index)
	}
	switch {
	case unreachable != nil:
		why := failure.Of(unreachable)
		line("ready", "unknown: %s; %s", why.Message, why.Hint)
	case len(s.Envs) == 0:
		line("ready", "no; the first environment is made when somebody asks for it")
	}
	for _, e := range s.Envs {
		line("env", "%s is %s", e.ID, e.State)
	}
}
