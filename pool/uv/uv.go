package uv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Config says how environments are built with uv.
type Config struct {
	Path     string // of uv; empty: found, else fetched
	IndexURL string // empty: uv's own rules
	Copy     bool   // environments share no file
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

// Build makes a venv at dir, installs the locked set into it, and verifies it.
func (u *Builder) Build(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	return u.withRepair(ctx, spec, dir, progress, func(from source) (builder.Built, error) {
		if from.again {
			if err := envdir.RemoveFolder(dir); err != nil {
				return builder.Built{}, envdir.DiskError(err)
			}
		}
		progress(builder.Stage{Name: builder.StageInstalling,
			Message: "making a venv with Python " + from.python.Version})
		if _, err := u.Run(ctx, from.tool, dir,
			append([]string{"venv", "--no-project"}, append(from.python.Args(), dir)...)...); err != nil {
			u.ForgetPythons() // the interpreter may be gone
			return builder.Built{}, err
		}
		return u.populate(ctx, from, dir, progress, func() bool { return false })
	})
}

// withRepair makes an environment. If that fails and a lock file or tool of ours may be at fault, it replaces that and
// tries once more.
func (u *Builder) withRepair(ctx context.Context, spec builder.Spec, mark string, progress func(builder.Stage),
	make func(source) (builder.Built, error)) (builder.Built, error) {
	began := time.Now()
	var built builder.Built
	from, err := u.prepare(ctx, spec, mark, 0, progress)
	if err == nil {
		built, err = make(from)
	}
	if err == nil || ctx.Err() != nil {
		return built, err
	}
	lock, aside := from.lock, ""
	if !u.toolBroken(ctx, mark) {
		switch {
		case !mayBlame(err), !Filled(lock), builder.CauseOf(err) == builder.CauseOther &&
			isSealed(lock): // a sealed one is whole
		case !wasMadeSince(lock, began):
			aside, _ = SetAside(u.log, lock, err) // on failure the first error says more
		case builder.CauseOf(err) != builder.CauseOther:
			_ = os.Remove(lock) // the next build resolves again
		}
		if aside == "" {
			return built, err
		}
	}
	from, again := u.prepare(ctx, spec, mark, 0, progress)
	if again == nil {
		from.again = true
		built, again = make(from)
	}
	if again != nil && aside != "" && !Filled(lock) {
		_ = os.Rename(aside, lock) // it may not have been at fault, and there is nothing better
	}
	return built, again
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

// source is what an environment is made from.
type source struct {
	tool   string
	python Interpreter
	lock   string
	again  bool // after a failed try: nothing in uv's cache is trusted
}

// prepare finds all of it. A lock file older than age is renewed if possible; 0 is any age.
func (u *Builder) prepare(ctx context.Context, spec builder.Spec, mark string, age time.Duration,
	progress func(builder.Stage)) (s source, err error) {
	if s.tool, err = u.Find(ctx, mark, progress); err != nil {
		return s, err
	}
	if s.python, err = u.interpreterFor(ctx, s.tool, mark, spec, progress); err != nil {
		return s, err
	}
	s.lock, err = u.lock(ctx, s.tool, mark, spec, s.python, age, progress)
	return s, err
}

// populate brings the venv at dir to the lock file and verifies it. After the installation, verifiedBefore reports
// whether what was verified before is unchanged.
func (u *Builder) populate(ctx context.Context, from source, dir string, progress func(builder.Stage),
	verifiedBefore func() bool) (builder.Built, error) {
	if err := u.install(ctx, from.tool, from.lock, dir, from.again, progress); err != nil {
		return builder.Built{}, err
	}
	progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	return u.verified(ctx, dir, verifiedBefore())
}

// Run runs uv and classifies its failure. mark is the environment being built, if any.
func (u *Builder) Run(ctx context.Context, tool, mark string, args ...string) (tool.Result, error) {
	return u.uvWith(ctx, tool, mark, nil, args...)
}

// uvWith is Run with more variables.
func (u *Builder) uvWith(ctx context.Context, program, mark string, env []string, args ...string) (tool.Result, error) {
	done, err := u.Child(ctx,
		tool.Command{Argv: append([]string{program}, args...), Env: append(u.ToolEnviron(), env...), Mark: mark})
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
	return done, CommandError(step, done.Output, err)
}

// Tools is the folder of tools, and the mark of children that belong to no one environment.
func (u *Builder) Tools() string { return filepath.Join(u.Dir, "tools") }
