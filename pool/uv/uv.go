package uv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/safefile"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Config says how environments are built with uv.
type Config struct {
	Path     string // of uv; empty: found, else fetched
	IndexURL string // empty: uv's own rules
	Copy     bool   // environments share no file
	Store    string // a folder of wheels and lock files that others keep; empty: none
}

// Builder builds environments with uv. It needs only a Python on the machine, with which it fetches uv if there is
// none.
type Builder struct {
	log     *zap.Logger
	Dir     string   // the state directory
	Environ []string // the daemon's

	Elsewhere []string // searched after PATH

	builder.Lookup[Config, string] // the path of uv
	Tidied                         sync.Once
	turns                          builder.Turns // to make a lock file, or to look for a Python

	mu       sync.Mutex             // guards what follows
	pythons  map[string]Interpreter // by what was wanted; looking takes longer than a build
	ownCache bool                   // it was logged that uv's usual cache cannot be used
	// storeSaid is why the store could not be used when that was logged last; empty: it can be.
	storeSaid string

	kept sync.RWMutex // to read the kept .pyc files, and to change which there are
}

// New returns a Builder that keeps its tools and lock files below dir. environ is the daemon's environment, of which
// children get a part.
func New(dir string, cfg Config, environ []string, log *zap.Logger) *Builder {
	u := &Builder{log: log, Dir: dir, Environ: environ, Elsewhere: usualPlaces, pythons: map[string]Interpreter{}}
	u.Configure(cfg)
	return u
}

// Configure sets the configuration of later builds.
func (u *Builder) Configure(cfg Config) {
	if u.Lookup.Configure(cfg) {
		u.ForgetPythons()
	}
}

// build is the making of one environment, or of its lock file only.
type build struct {
	*Builder
	spec     builder.Spec
	mark     string // of its children: the environment's folder
	progress func(builder.Stage)

	tool   string // the path of uv
	python Interpreter
	path   string // of the lock file; empty: the project has one
	again  bool   // after a failed try: nothing in uv's cache is trusted
	anew   bool   // for a store, which is not asked for what it has

	project  *project.Project // as it was read for this build; nil: it is for a pool
	settings []byte           // of the project, for uv pip; see inProject
}

// Build makes a venv at dir, installs the locked set into it, and verifies it.
func (u *Builder) Build(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	b := &build{Builder: u, spec: spec, mark: dir, progress: progress}
	return b.withRepair(ctx, func() (builder.Built, error) {
		if b.again {
			if err := envdir.RemoveFolder(dir); err != nil {
				return builder.Built{}, envdir.DiskError(err)
			}
		}
		progress(builder.Stage{Name: builder.StageInstalling,
			Message: "making a venv with Python " + b.python.Version})
		if err := u.Venv(ctx, b.tool, dir, b.python, dir); err != nil {
			return builder.Built{}, err
		}
		compiled := b.compiled()
		built, err := b.populate(ctx, func() bool { return compiled.Link(ctx) })
		if err == nil {
			compiled.Keep(ctx)
			built.Lock, err = b.keepLock()
		}
		return built, err
	})
}

// Venv makes a venv at dir.
func (u *Builder) Venv(ctx context.Context, tool, mark string, python Interpreter, dir string) error {
	_, err := u.Run(ctx, tool, mark, append([]string{"venv", "--no-project"}, append(python.Args(), dir)...)...)
	if err != nil {
		u.ForgetPythons() // the interpreter may be gone
	}
	return err
}

// withRepair makes an environment. If that fails and a lock file or tool of ours may be at fault, it replaces that and
// tries once more.
func (b *build) withRepair(ctx context.Context, make func() (builder.Built, error)) (builder.Built, error) {
	began := time.Now()
	try := func() (builder.Built, error) {
		if err := b.prepare(ctx, 0); err != nil {
			return builder.Built{}, err
		}
		return make()
	}
	built, err := try()
	if err == nil || ctx.Err() != nil {
		return built, err
	}
	lock, aside := b.path, ""
	if !b.toolBroken(ctx, b.mark) {
		switch {
		case b.hashed(): // what somebody gave is not ours to replace
			return built, b.ofLock(err)
		case !mayBlame(err), !Filled(lock), builder.CauseOf(err) == builder.CauseOther &&
			isSealed(lock): // a sealed one is whole
		case !wasMadeSince(lock, began):
			aside, _ = SetAside(b.log, lock, err) // on failure the first error says more
		case builder.CauseOf(err) != builder.CauseOther:
			_ = os.Remove(lock) // the next build resolves again
		}
		if aside == "" {
			return built, err
		}
	}
	b.again = true
	built, err = try()
	if err != nil && aside != "" && !Filled(lock) {
		_ = safefile.Rename(aside, lock) // it may not have been at fault, and there is nothing better
	}
	return built, err
}

// mayBlame reports whether a lock file may be why a build failed.
func mayBlame(err error) bool {
	switch builder.CauseOf(err) {
	case builder.CausePackageNotFound, builder.CauseUnsatisfiable, builder.CauseCorrupt, builder.CauseVerifyFailed,
		builder.CauseOther:
		return !envdir.MachineFault(err)
	}
	return false
}

// wasMadeSince reports whether a lock file was written after that moment. An offline one does not tell, and counts as
// new.
func wasMadeSince(lock string, moment time.Time) bool {
	info, err := os.Lstat(lock)
	return err == nil && (!info.ModTime().Before(moment.Add(-time.Second)) || IsMakeshift(lock))
}

// toolBroken reports whether the uv that was fetched does not run any more, and forgets it then.
func (u *Builder) toolBroken(ctx context.Context, mark string) bool {
	tool, ok := u.Tool()
	if !ok || filepath.Dir(filepath.Dir(filepath.Dir(tool.Path))) != u.Tools() {
		return false
	}
	if _, runs := u.version(ctx, mark, tool.Path); runs || ctx.Err() != nil {
		return false
	}
	u.Forget(tool.Path)
	return true
}

// prepare finds uv, the Python and the lock file. One that is older than age is renewed if possible; 0 is any age.
func (b *build) prepare(ctx context.Context, age time.Duration) (err error) {
	if err = b.spec.Buildable(); err != nil {
		return err
	}
	if b.tool, err = b.Find(ctx, b.mark, b.progress); err != nil {
		return err
	}
	if err = b.readProject(); err != nil {
		return err
	}
	if err = b.lockFits(Interpreter{}); err != nil { // before one is fetched
		return err
	}
	if b.python, err = b.interpreter(ctx); err != nil || !b.resolves() {
		return err
	}
	if err = b.lockFits(b.python); err != nil {
		return err
	}
	b.path = b.lockPath(b.spec, b.python)
	if b.pinned() {
		return b.pin(ctx)
	}
	return b.lock(ctx, age)
}

// populate brings the venv to the lock file and verifies it. After the installation, verifiedBefore reports whether
// what was verified before is unchanged.
func (b *build) populate(ctx context.Context, verifiedBefore func() bool) (builder.Built, error) {
	if err := b.install(ctx); err != nil {
		return builder.Built{}, err
	}
	b.progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	return b.verified(ctx, b.mark, verifiedBefore(), b.spec.Preload)
}

// Run runs uv and classifies its failure. mark is the environment being built, if any.
func (u *Builder) Run(ctx context.Context, program, mark string, args ...string) (tool.Result, error) {
	return u.runUV(ctx, tool.Command{Argv: append([]string{program}, args...), Env: u.ToolEnviron(), Mark: mark})
}

// runIn runs uv in a folder, which is our own empty one if dir is empty.
func (b *build) runIn(ctx context.Context, dir string, vars []string, c call) (tool.Result, error) {
	return b.runUV(ctx, tool.Command{Argv: append([]string{b.tool}, c.args...), Env: append(vars, c.env...),
		Mark: b.mark, Dir: dir, Input: c.input})
}

// runUV runs a command of uv and classifies its failure.
func (u *Builder) runUV(ctx context.Context, c tool.Command) (tool.Result, error) {
	program, args := c.Argv[0], c.Argv[1:]
	done, err := u.withoutRetries(ctx, c)
	if err == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		// the caller knows why
		return done, &builder.Error{Cause: builder.CauseTimeout, Message: "uv was ended", Output: done.Output}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		u.Forget(program)
	}
	step := args[0]
	if step == "pip" || step == "python" {
		step += " " + args[1]
	}
	return done, u.CommandError(step, done.Output, err)
}

// notRetried is the first version that asks only once for what has an untrusted certificate. Earlier ones ask four
// times, for some 10 s.
const notRetried = "0.12.0"

// withoutRetries runs a command of uv. One of an earlier version asks once first, and as usual where that might help.
func (u *Builder) withoutRetries(ctx context.Context, c tool.Command) (tool.Result, error) {
	found, _ := u.Tool()
	if found.Version == "" || CompareVersions(found.Version, notRetried) >= 0 || slices.Contains(c.Argv, "--offline") {
		return u.Child(ctx, c)
	}
	once := c
	once.Env = append(slices.Clone(c.Env), "UV_HTTP_RETRIES=0")
	done, err := u.Child(ctx, once)
	if err == nil || ctx.Err() != nil {
		return done, err
	}
	switch builder.CauseOf(u.CommandError("", done.Output, err)) {
	case builder.CauseNetwork, builder.CauseCorrupt: // a stream that is cut off looks like the latter
		return u.Child(ctx, c)
	}
	return done, err
}

// Tools is the folder of tools, and the mark of children that belong to no one environment.
func (u *Builder) Tools() string { return filepath.Join(u.Dir, "tools") }
