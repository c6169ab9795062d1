package uv

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"runtimed/internal/project"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// A project's environment has what the project says, and the kernel where that is missing. uv reads the project in its
// own folder, so that its settings, sources and relative paths count as they do for uv sync.

const (
	kernelPackage = "ipykernel" // every environment needs it
	// KernelAdded is what uv is asked for where it is missing. Earlier versions have only sources that cannot be built
	// any more, and that would be told as the reason.
	KernelAdded = kernelPackage + ">=6"
)

// Again reads a project again. The error is a *builder.Error.
func Again(p *project.Project) (*project.Project, error) {
	now, err := p.Again()
	var e *project.Error
	if !errors.As(err, &e) {
		return now, err
	}
	cause := builder.CauseOther
	if e.Changed {
		cause = builder.CauseProjectChanged
	}
	return nil, builder.Errorf(cause, e.Hint, "%s", e.Message)
}

// readProject reads the project that b is for, if there is one.
func (b *build) readProject() (err error) {
	if b.spec.Project == nil {
		return nil
	}
	if b.project, err = Again(b.spec.Project); err == nil {
		b.settings = b.projectSettings(b.project)
	}
	return err
}

// resolveProject writes what a project without a lock file needs into the file out. offline: only uv's cache was asked.
// For a pyproject.toml that is a pylock.toml, since only that says from which index a package is.
func (b *build) resolveProject(ctx context.Context, out string, renew bool, argv []string) (offline bool, err error) {
	of := b.project
	argv = append(argv, of.File)
	switch {
	case of.Kind == project.PyProject:
		argv = append(argv, b.chosen(of.File, of.DefaultGroups...)...)
		argv = append(argv, "--format", "pylock.toml")
	case of.Hashed: // uv would write all hashes of the index in their place
		argv = slices.DeleteFunc(argv, func(a string) bool { return a == "--generate-hashes" })
	}
	_, err = b.inProject(ctx, call{args: argv})
	if builder.Unreachable(err) && ctx.Err() == nil && !renew {
		if _, fromCache := b.inProject(ctx, call{args: append(argv, "--offline")}); fromCache == nil {
			offline, err = true, nil
		}
	}
	if err != nil || of.Kind != project.PyProject {
		return offline, b.ofProject(err)
	}
	data, err := envdir.ReadOwn(out, envdir.MaxInside)
	if err == nil {
		err = os.WriteFile(out, absolutePaths(data, filepath.Dir(out)), 0o600)
	}
	return offline, envdir.DiskError(err)
}

var pathInLock = regexp.MustCompile(`\bpath = ("(?:[^"\\]|\\.)*")`)

// absolutePaths writes the paths in a pylock.toml, which start at its folder, in full: it will be in another one.
func absolutePaths(lock []byte, dir string) []byte {
	return pathInLock.ReplaceAllFunc(lock, func(m []byte) []byte {
		path, err := strconv.Unquote(string(pathInLock.FindSubmatch(m)[1]))
		if err != nil || filepath.IsAbs(path) {
			return m
		}
		return []byte("path = " + strconv.Quote(filepath.ToSlash(filepath.Join(dir, filepath.FromSlash(path)))))
	})
}

// resolves reports whether the daemon resolves what is installed, and keeps that in a lock file of its own.
func (b *build) resolves() bool {
	of := b.spec.Project
	return of == nil || of.Kind == project.PyProject || of.Kind == project.Requirements
}

// installProject brings the venv to what the project says.
func (b *build) installProject(ctx context.Context) error {
	var err error
	switch b.project.Kind {
	case project.UVLock:
		err = b.sync(ctx)
	case project.PyLock:
		err = b.syncPyLock(ctx, b.project.File, b.chosen("")...)
	case project.PyProject:
		err = b.syncPyProject(ctx)
	default:
		err = b.installRequirements(ctx)
	}
	if err != nil {
		return b.ofProject(err)
	}
	if err := b.addKernel(ctx); err != nil {
		return err
	}
	_, err = Again(b.spec.Project) // else it may have been read while it was changed
	return err
}

// sync has uv install a uv.lock, all of it and nothing else. It compares every hash.
func (b *build) sync(ctx context.Context) error {
	how := "--locked"
	if b.project.Frozen {
		how = "--frozen"
	}
	argv := append([]string{"sync", how, "--project", b.project.Path}, b.python.Args()...)
	return b.tries(ctx, b.inProject, append(argv, b.chosen("")...)...)
}

// chosen are the options for extras and groups. Groups are those of the pyproject.toml at file, which uv pip wants to
// be told.
func (b *build) chosen(file string, more ...string) (args []string) {
	for _, e := range b.project.Extras {
		args = append(args, "--extra", e)
	}
	groups := slices.Concat(b.project.Groups, more)
	slices.Sort(groups)
	for _, g := range slices.Compact(groups) {
		if file != "" {
			g = file + ":" + g
		}
		args = append(args, "--group", g)
	}
	return args
}

// syncPyLock brings the venv to a pylock.toml.
func (b *build) syncPyLock(ctx context.Context, file string, more ...string) error {
	argv := []string{"pip", "sync", "--python", builder.VenvPython(b.mark), "--allow-empty-requirements", file}
	return b.tries(ctx, b.inProject, append(argv, more...)...)
}

// readLock reads the lock file, and makes a scratch folder for a part of it.
func (b *build) readLock() (data []byte, tmp string, remove func(), err error) {
	if data, err = envdir.ReadOwn(b.path, envdir.MaxInside); err != nil {
		return nil, "", nil, envdir.DiskError(err)
	}
	tmp, remove, err = b.Scratch(filepath.Dir(b.path), statedir.ResolvePrefix)
	return data, tmp, remove, err
}

// syncPyProject brings the venv to what a pyproject.toml was resolved to, and adds the project itself.
func (b *build) syncPyProject(ctx context.Context) error {
	data, tmp, remove, err := b.readLock()
	if err != nil {
		return err
	}
	defer remove()
	file := filepath.Join(tmp, project.PyLock) // uv tells it by its name
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return envdir.DiskError(err)
	}
	if err := b.syncPyLock(ctx, file); err != nil || !b.project.Package {
		return err
	}
	return b.tries(ctx, b.inProject, "pip", "install", "--python", builder.VenvPython(b.mark), "--no-deps", "-e", ".")
}

// installRequirements installs a requirements file as uv does, with the versions and hashes that it was resolved to.
func (b *build) installRequirements(ctx context.Context) error {
	data, tmp, remove, err := b.readLock()
	if err != nil {
		return err
	}
	defer remove()
	pins, err := writeEntries(tmp, "constraints.txt", pinnedIn(data))
	if err != nil {
		return err
	}
	return b.tries(ctx, b.inProject, "pip", "install", "--python", builder.VenvPython(b.mark), "-r", b.project.File,
		"-c", pins)
}

// addKernel adds the kernel where the project has none, and what was asked for besides. No version of the project
// changes.
func (b *build) addKernel(ctx context.Context) error {
	have := allDistributions(b.mark)
	lines, what := b.spec.Packages, b.spec.Packages
	if !slices.ContainsFunc(have, func(p builder.Package) bool { return p.Name == kernelPackage }) {
		lines, what = append([]string{KernelAdded}, lines...), append([]string{kernelPackage}, what...)
	}
	if len(lines) == 0 {
		return nil
	}
	return b.add(ctx, Addition{
		Env: b.mark, Python: builder.VenvPython(b.mark), Minor: b.python.minor(), Have: have, Keep: true, Lines: lines,
		What: strings.Join(redact.Texts(what), ", "), like: b.poolLock(), run: b.inProject, key: b.settings,
	}, b.progress)
}

// inProject runs uv in the project's folder, with the project's settings that say where packages come from and how they
// are built. With others, such as pip.target, uv would remove what is in a folder of the user's; and in folders further
// up, uv would take settings that anyone may have left there.
func (b *build) inProject(ctx context.Context, c call) (tool.Result, error) {
	vars := append(b.ToolEnviron(), "UV_PROJECT_ENVIRONMENT="+b.mark)
	if b.project.Kind == project.UVLock || len(b.project.Indexes) > 0 { // it says itself where its packages come from
		own := tool.Lookup(b.Environ, "UV_DEFAULT_INDEX")
		vars = slices.DeleteFunc(vars, func(v string) bool {
			index, is := strings.CutPrefix(v, "UV_DEFAULT_INDEX=")
			return is && index != own
		})
	}
	if len(b.settings) > 0 {
		tmp, remove, err := b.Scratch(b.Tools(), statedir.FetchPrefix)
		if err != nil {
			return tool.Result{}, err
		}
		defer remove()
		file := filepath.Join(tmp, "uv.toml")
		if err := os.WriteFile(file, b.settings, 0o600); err != nil {
			return tool.Result{}, envdir.DiskError(err)
		}
		vars = append(vars, "UV_CONFIG_FILE="+file)
	}
	return b.runIn(ctx, b.project.Path, append(vars, gitEnviron(b.Environ)...), c)
}

// gitEnviron is what git needs to fetch a repository as the user does. Nobody is there to answer its questions.
func gitEnviron(environ []string) []string {
	env := []string{"GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_COMMAND=" + cmp.Or(tool.Lookup(environ, "GIT_SSH_COMMAND"), "ssh -oBatchMode=yes")}
	if agent := tool.Lookup(environ, "SSH_AUTH_SOCK"); agent != "" {
		env = append(env, "SSH_AUTH_SOCK="+agent)
	}
	return env
}

// projectPython finds the Python for a project: that of its .python-version, else the pool's if the project takes it,
// else the newest that the project takes.
func (b *build) projectPython(ctx context.Context) (Interpreter, error) {
	of, spec := b.spec.Project, b.spec
	takes := func(i Interpreter) bool {
		return of.RequiresPython == "" || builder.Satisfies(i.Version, of.RequiresPython)
	}
	if want := cmp.Or(spec.Python, of.Python); want != "" {
		python, err := b.find(ctx, want)
		if err == nil && !takes(python) {
			err = builder.Errorf(builder.CausePythonMissing, "make them agree, or ask for another python",
				"the project requires Python %s, and %s was asked for", of.RequiresPython, want)
		}
		return python, err
	}
	python, err := b.find(ctx, spec.Base.Python)
	if err == nil && takes(python) || ctx.Err() != nil {
		return python, err
	}
	return b.find(ctx, of.RequiresPython)
}

// ofProject is a failure in the words of somebody who has a project, and not a pool.
func (b *build) ofProject(err error) error {
	var e *builder.Error
	if !errors.As(err, &e) {
		return err
	}
	said := *e
	switch e.Cause {
	case builder.CauseLockOutdated:
		said.Message = b.project.File + " is older than what the project asks for"
	case builder.CauseAuth:
		said.Hint = "uv has the variables and credentials of the daemon, not yours; " +
			"set them where the daemon is started, and restart it: runt daemon restart"
	case builder.CauseCorrupt:
		said.Hint = "a hash in the project is wrong, or something alters what is downloaded"
	case builder.CausePackageNotFound, builder.CauseUnsatisfiable:
		said.Hint = "correct " + cmp.Or(b.project.Manager, b.project.File) +
			"; runt project shows the indexes that count"
	}
	return &said
}
