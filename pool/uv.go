package pool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

// UVConfig says how environments are built with uv.
type UVConfig struct {
	Path     string // of uv; empty: looked up, then fetched
	IndexURL string // empty: uv's own rules
	Copy     bool   // no file is shared between environments
}

// UV builds environments with uv. It needs nothing but a Python on the machine: where uv is not there, it is fetched once.
type UV struct {
	log     *zap.Logger
	dir     string   // the state directory
	environ []string // of the daemon

	elsewhere []string // folders that are searched beside those of PATH

	mu       sync.Mutex // guards cfg and what follows
	cfg      UVConfig
	tool     Tool          // uv, once found
	fetching chan struct{} // held by whoever looks for uv or fetches it
	tidied   sync.Once
	pythons  map[string]interpreter // by what was wanted; kept while they are there, since looking takes longer than a build
	ownCache bool                   // it was said that uv's usual cache cannot be used
	turns    map[string]*turn       // of whoever looks for a Python or makes a lock file
}

// NewUV makes a Builder that keeps uv, lock files and its cache below dir where there is no better place. environ is the daemon's
// own environment, of which the children get what concerns them.
func NewUV(dir string, cfg UVConfig, environ []string, log *zap.Logger) *UV {
	return &UV{
		log: log, dir: dir, environ: environ, elsewhere: elsewhere, cfg: cfg, pythons: map[string]interpreter{},
		fetching: make(chan struct{}, 1), turns: map[string]*turn{},
	}
}

// Configure puts cfg in force for the builds to come.
func (u *UV) Configure(cfg UVConfig) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if cfg != u.cfg {
		u.cfg, u.tool, u.pythons = cfg, Tool{}, map[string]interpreter{}
	}
}

// Tool is the uv in use.
func (u *UV) Tool() (Tool, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.tool, u.tool.Path != ""
}

func (u *UV) config() UVConfig {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cfg
}

// Build makes a venv at dir, installs the locked set into it, from uv's cache where that has it all, and verifies it.
func (u *UV) Build(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error) {
	return u.mending(ctx, spec, dir, progress, func(from source) (Built, error) {
		if from.again {
			if err := removeFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return Built{}, diskError(err)
			}
		}
		progress(Stage{Name: StageInstalling, Message: "making a venv with Python " + from.python.Version})
		if _, err := u.uv(ctx, from.tool, dir, append([]string{"venv", "--no-project"}, append(from.python.args(), dir)...)...); err != nil {
			u.forgetPythons() // it may be the interpreter that is gone
			return Built{}, err
		}
		return u.populate(ctx, from, dir, progress, func() bool { return false })
	})
}

// mending makes an environment, and where that fails by what the daemon keeps for it, has that made anew and tries once more.
func (u *UV) mending(ctx context.Context, spec Spec, mark string, progress func(Stage), make func(source) (Built, error)) (Built, error) {
	began := time.Now()
	var built Built
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
		case !mayBlame(err), !filled(lock), causeOf(err) == CauseOther && isSealed(lock): // that one is whole
		case !wasMadeSince(lock, began):
			aside, _ = setAside(u.log, lock, err) // where that does not go, the first error tells more
		case causeOf(err) != CauseOther:
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
	if again != nil && aside != "" && !filled(lock) {
		_ = os.Rename(aside, lock) // it may not have been to blame, and nothing better is to be had
	}
	return built, again
}

// mayBlame says whether a lock file may be why a build failed.
func mayBlame(err error) bool {
	switch causeOf(err) {
	case CausePackageNotFound, CauseUnsatisfiable, CauseCorrupt, CauseVerifyFailed, CauseOther:
		return !trouble(err)
	}
	return false
}

// wasMadeSince says whether a lock file was written after that moment. One that was made without the network does not tell.
func wasMadeSince(lock string, moment time.Time) bool {
	info, err := os.Lstat(lock)
	return err == nil && (!info.ModTime().Before(moment.Add(-time.Second)) || isMakeshift(lock))
}

// spoilt says whether the uv that was fetched no longer runs; it is then looked for anew.
func (u *UV) spoilt(ctx context.Context, mark string) bool {
	tool, ok := u.Tool()
	if !ok || filepath.Dir(filepath.Dir(filepath.Dir(tool.Path))) != u.tools() {
		return false
	}
	if _, runs := u.version(ctx, mark, tool.Path); runs || ctx.Err() != nil {
		return false
	}
	u.mu.Lock()
	u.tool = Tool{}
	u.mu.Unlock()
	return true
}

// source is what an environment is made of: a uv, a Python, and the lock file of its packages.
type source struct {
	tool   string
	python interpreter
	lock   string
	again  bool // a try before this one failed: nothing in uv's cache is trusted
}

// prepare finds all of it. A lock file that is older than age is made anew where that can be done; 0 is any age.
func (u *UV) prepare(ctx context.Context, spec Spec, mark string, age time.Duration, progress func(Stage)) (s source, err error) {
	if s.tool, err = u.find(ctx, mark, progress); err != nil {
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
func (u *UV) populate(ctx context.Context, from source, dir string, progress func(Stage), verifiedBefore func() bool) (Built, error) {
	if err := u.install(ctx, from.tool, from.lock, dir, from.again, progress); err != nil {
		return Built{}, err
	}
	progress(Stage{Name: StageVerifying, Message: "importing the kernel"})
	return u.verified(ctx, dir, verifiedBefore())
}

// uv runs uv and tells the kind of its failure. mark is the environment that is being built, if any.
func (u *UV) uv(ctx context.Context, tool, mark string, args ...string) (finished, error) {
	return u.uvWith(ctx, tool, mark, nil, args...)
}

// uvWith is uv with more in its environment.
func (u *UV) uvWith(ctx context.Context, program, mark string, env []string, args ...string) (finished, error) {
	cwd, err := u.workdir()
	if err != nil {
		return finished{}, err
	}
	done, err := run(ctx, child{argv: append([]string{program}, args...), dir: cwd, env: append(u.uvEnv(), env...), mark: mark})
	if err == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		return done, &BuildError{Cause: CauseTimeout, Message: "uv was ended", Output: done.output} // the caller knows why
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		u.mu.Lock()
		u.tool = Tool{} // it was removed: look again
		u.mu.Unlock()
	}
	step := args[0]
	if step == "pip" || step == "python" {
		step += " " + args[1]
	}
	return done, uvError(step, done.output, err)
}

// tools is the folder of what builds need, and the mark of children that build no one environment.
func (u *UV) tools() string { return filepath.Join(u.dir, "tools") }
