package uv

import (
	"context"
	"errors"
	"io/fs"
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
	Path     string // of uv; empty: looked up, then fetched
	IndexURL string // empty: uv's own rules
	Copy     bool   // no file is shared between environments
}

// Builder builds environments with uv. It needs nothing but a Python on the machine: where uv is not there, it is fetched once.
type Builder struct {
	log     *zap.Logger
	Dir     string   // the state directory
	Environ []string // of the daemon

	Elsewhere []string // folders that are searched beside those of PATH

	mu       sync.Mutex // guards cfg and what follows
	Cfg      Config
	tool     builder.Tool  // uv, once found
	fetching chan struct{} // held by whoever looks for uv or fetches it
	Tidied   sync.Once
	pythons  map[string]Interpreter // by what was wanted; kept while they are there, since looking takes longer than a build
	ownCache bool                   // it was said that uv's usual cache cannot be used
	turns    map[string]*turn       // of whoever looks for a Python or makes a lock file
}

// New makes a Builder that keeps uv, lock files and its cache below dir where there is no better place. environ is the daemon's
// own environment, of which the children get what concerns them.
func New(dir string, cfg Config, environ []string, log *zap.Logger) *Builder {
	return &Builder{
		log: log, Dir: dir, Environ: environ, Elsewhere: UsualPlaces, Cfg: cfg, pythons: map[string]Interpreter{},
		fetching: make(chan struct{}, 1), turns: map[string]*turn{},
	}
}

// Configure puts cfg in force for the builds to come.
func (u *Builder) Configure(cfg Config) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if cfg != u.Cfg {
		u.Cfg, u.tool, u.pythons = cfg, builder.Tool{}, map[string]Interpreter{}
	}
}

// Tool is the uv in use.
func (u *Builder) Tool() (builder.Tool, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.tool, u.tool.Path != ""
}

func (u *Builder) Config() Config {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.Cfg
}

// Build makes a venv at dir, installs the locked set into it, from uv's cache where that has it all, and verifies it.
func (u *Builder) Build(ctx context.Context, spec builder.Spec, dir string, progress func(builder.Stage)) (builder.Built, error) {
	return u.mending(ctx, spec, dir, progress, func(from source) (builder.Built, error) {
		if from.again {
			if err := envdir.RemoveFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return builder.Built{}, envdir.DiskError(err)
			}
		}
		progress(builder.Stage{Name: builder.StageInstalling, Message: "making a venv with Python " + from.python.Version})
		if _, err := u.Run(ctx, from.tool, dir, append([]string{"venv", "--no-project"}, append(from.python.Args(), dir)...)...); err != nil {
			u.ForgetPythons() // it may be the interpreter that is gone
			return builder.Built{}, err
		}
		return u.populate(ctx, from, dir, progress, func() bool { return false })
	})
}

// mending makes an environment, and where that fails by what the daemon keeps for it, has that made anew and tries once more.
func (u *Builder) mending(ctx context.Context, spec builder.Spec, mark string, progress func(builder.Stage), make func(source) (builder.Built, error)) (builder.Built, error) {
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
	if !u.spoilt(ctx, mark) {
		switch {
		case !mayBlame(err), !Filled(lock), builder.CauseOf(err) == builder.CauseOther && isSealed(lock): // that one is whole
		case !wasMadeSince(lock, began):
			aside, _ = SetAside(u.log, lock, err) // where that does not go, the first error tells more
		case builder.CauseOf(err) != builder.CauseOther:
			_ = os.Remove(lock) // what it names can no longer be had, or does not go together: the next build resolves anew
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
		_ = os.Rename(aside, lock) // it may not have been to blame, and nothing better is to be had
	}
	return built, again
}

// mayBlame says whether a lock file may be why a build failed.
func mayBlame(err error) bool {
	switch builder.CauseOf(err) {
	case builder.CausePackageNotFound, builder.CauseUnsatisfiable, builder.CauseCorrupt, builder.CauseVerifyFailed, builder.CauseOther:
		return !envdir.MachineFault(err)
	}
	return false
}

// wasMadeSince says whether a lock file was written after that moment. One that was made without the network does not tell.
func wasMadeSince(lock string, moment time.Time) bool {
	info, err := os.Lstat(lock)
	return err == nil && (!info.ModTime().Before(moment.Add(-time.Second)) || IsMakeshift(lock))
}

// spoilt says whether the uv that was fetched no longer runs; it is then looked for anew.
func (u *Builder) spoilt(ctx context.Context, mark string) bool {
	tool, ok := u.Tool()
	if !ok || filepath.Dir(filepath.Dir(filepath.Dir(tool.Path))) != u.Tools() {
		return false
	}
	if _, runs := u.version(ctx, mark, tool.Path); runs || ctx.Err() != nil {
		return false
	}
	u.mu.Lock()
	u.tool = builder.Tool{}
	u.mu.Unlock()
	return true
}

// source is what an environment is made of: a uv, a Python, and the lock file of its packages.
type source struct {
	tool   string
	python Interpreter
	lock   string
	again  bool // a try before this one failed: nothing in uv's cache is trusted
}

// prepare finds all of it. A lock file that is older than age is made anew where that can be done; 0 is any age.
func (u *Builder) prepare(ctx context.Context, spec builder.Spec, mark string, age time.Duration, progress func(builder.Stage)) (s source, err error) {
	if s.tool, err = u.Find(ctx, mark, progress); err != nil {
		return s, err
	}
	if s.python, err = u.interpreterFor(ctx, s.tool, mark, spec, progress); err != nil {
		return s, err
	}
	s.lock, err = u.lock(ctx, s.tool, mark, spec, s.python, age, progress)
	return s, err
}

// populate brings the venv at dir to what the lock file says and verifies it. verifiedBefore says, after that, whether all that was
// verified before is as it was.
func (u *Builder) populate(ctx context.Context, from source, dir string, progress func(builder.Stage), verifiedBefore func() bool) (builder.Built, error) {
	if err := u.install(ctx, from.tool, from.lock, dir, from.again, progress); err != nil {
		return builder.Built{}, err
	}
	progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	return u.verified(ctx, dir, verifiedBefore())
}

// Run runs uv and tells the kind of its failure. mark is the environment that is being built, if any.
func (u *Builder) Run(ctx context.Context, tool, mark string, args ...string) (tool.Result, error) {
	return u.uvWith(ctx, tool, mark, nil, args...)
}

// uvWith is uv with more in its environment.
func (u *Builder) uvWith(ctx context.Context, program, mark string, env []string, args ...string) (tool.Result, error) {
	cwd, err := u.Workdir()
	if err != nil {
		return tool.Result{}, err
	}
	done, err := tool.Run(ctx, tool.Command{Argv: append([]string{program}, args...), Dir: cwd, Env: append(u.ToolEnviron(), env...), Mark: mark})
	if err == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		return done, &builder.Error{Cause: builder.CauseTimeout, Message: "uv was ended", Output: done.Output} // the caller knows why
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		u.mu.Lock()
		u.tool = builder.Tool{} // it was removed: look again
		u.mu.Unlock()
	}
	step := args[0]
	if step == "pip" || step == "python" {
		step += " " + args[1]
	}
	return done, CommandError(step, done.Output, err)
}

// Tools is the folder of what builds need, and the mark of children that build no one environment.
func (u *Builder) Tools() string { return filepath.Join(u.Dir, "tools") }
