package conda

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// The providers of conda environments.
const (
	ProviderAuto       = "auto"
	ProviderMicromamba = "micromamba"
	ProviderMamba      = "mamba"
	ProviderConda      = "conda"
	ProviderRattler    = "rattler"
)

// Config says how conda environments are built.
type Config struct {
	Provider string // a Provider constant; empty is auto
	Path     string // of the provider's program; empty: found
}

// Builder builds conda environments with the tool that is there, else with rattler, which needs only uv.
type Builder struct {
	log       *zap.Logger
	dir       string      // the state directory
	environ   []string    // the daemon's
	uv        *uv.Builder // makes the venv for rattler
	Elsewhere []string    // searched after PATH

	builder.Lookup[Config, condaProvider]
	own    *rattler
	tidied sync.Once
}

// condaProvider is one way to make a conda environment.
type condaProvider interface {
	// create makes an environment at dir, which must not exist. With a lock file at job.from it installs exactly
	// that, offline if it can. Else it solves, and writes the lock file to job.to. The error is a *builder.Error. The
	// caller removes what a failure leaves at dir.
	create(ctx context.Context, dir string, job condaJob) error
	// renew solves and writes the lock file to job.to, without building. mark is that of its children. The error is
	// errors.ErrUnsupported if the provider can solve only with a build.
	renew(ctx context.Context, mark string, job condaJob) error
	// lockName is the suffix of its lock files: providers do not read each other's.
	lockName() string
	// compiles reports whether it also writes the .pyc files of what it installs.
	compiles() bool
	// Usable reports whether its program is still there.
	Usable() bool
}

type condaJob struct {
	specs    []string // match specs, Python's included
	extra    []string // match specs that rattler adds without changing what specs lead to
	kernel   bool     // the same with ipykernel, where rattler can
	preload  []string // of builder.Spec
	channels []string // by priority
	from, to string   // lock files
	prefer   string   // a lock file whose versions rattler prefers; or empty
	pixi     *pixi    // the lock file of a project, in place of specs; for rattler only
	progress func(builder.Stage)
	again    bool           // after a failed try
	answered *condaAnswered // gets what rattler says; may be nil
}

// New returns a Builder that keeps lock files and package caches below dir. environ is the daemon's environment, of
// which children get a part.
func New(dir string, cfg Config, uv *uv.Builder, environ []string, log *zap.Logger) *Builder {
	c := &Builder{log: log, dir: dir, environ: environ, uv: uv, Elsewhere: usualPlaces}
	c.own = newRattler(c)
	c.Configure(cfg)
	return c
}

// Build makes a conda environment at dir from its lock file, else from the channels, and verifies it.
func (c *Builder) Build(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	if err := cmp.Or(spec.Buildable(), condaPlace(dir)); err != nil {
		return builder.Built{}, err
	}
	w, err := wants(spec)
	if err != nil {
		return builder.Built{}, err
	}
	built, err := c.build(ctx, spec, w, dir, progress)
	return built, w.explain(err)
}

func (c *Builder) build(ctx context.Context, spec builder.Spec, w wanted, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	provider, err := c.providerFor(ctx, w, spec, dir)
	if err != nil {
		return builder.Built{}, err
	}
	lock := c.lockPath(spec, provider)
	b := &build{Builder: c, provider: provider, w: w, dir: dir, lock: lock, job: w.job(provider)}
	b.job.preload, b.job.progress, b.compiledOf, b.compiledWith = spec.Preload, progress, lock, spec.Preload
	if err := c.uv.SoundLock(lock, nil); err != nil {
		return builder.Built{}, err
	}
	if spec.Locked != nil && spec.Base == nil {
		b.pinned = spec.LockFile
		if err := c.uv.Pin(lock, spec.Locked.Text()); err != nil {
			return builder.Built{}, err
		}
	}
	if spec.Base != nil {
		if err := c.followBase(spec, b); err != nil {
			return builder.Built{}, err
		}
	}
	if w.locked() {
		tmp, remove, err := c.uv.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
		if err != nil {
			return builder.Built{}, err
		}
		defer remove()
		if b.job.pixi, err = pixiIn(tmp, w.project); err != nil {
			return builder.Built{}, err
		}
	}
	built, err := b.withRepair(ctx)
	if err == nil && spec.Base == nil {
		built.Lock, err = b.leaveLock()
	}
	return built, err
}

// providerFor is the provider for what is wanted. Only rattler reads a pixi.lock, and the lock file of a pinned pool.
func (c *Builder) providerFor(ctx context.Context, w wanted, spec builder.Spec, mark string) (condaProvider, error) {
	if w.locked() || spec.Locked != nil {
		c.tidied.Do(c.Tidy)
		return c.own, nil
	}
	return c.provider(ctx, mark)
}

// followBase has a build prefer the versions of the pool that it adds to. If these were renewed, so are its own. It
// uses the code that was compiled for the pool: what somebody needs beyond it is not imported by the check.
func (c *Builder) followBase(spec builder.Spec, b *build) error {
	c.uv.ForgetNeeds()
	base := c.lockPath(*spec.Base, b.provider)
	b.compiledOf, b.compiledWith, b.compiledFixed = base, spec.Base.Preload, true
	if spec.Project != nil {
		return nil
	}
	if spec.Base.Locked != nil {
		if err := c.uv.Pin(base, spec.Base.Locked.Text()); err != nil {
			return err
		}
	}
	if err := c.uv.SoundLock(base, nil); err != nil || !uv.Filled(base) {
		return err
	}
	b.job.prefer = base
	own, err := os.Stat(b.lock)
	pools, errBase := os.Stat(base)
	if err != nil || errBase != nil || !own.ModTime().Before(pools.ModTime()) {
		return nil
	}
	if err := c.uv.NoFolder(outdated(b.lock)); err != nil {
		return err
	}
	if err := safefile.Rename(b.lock, outdated(b.lock)); !errors.Is(err, fs.ErrNotExist) { // another build was first
		return envdir.DiskError(err)
	}
	return nil
}

// lockPath is where the solved set of a spec is kept. With needs, it depends on the pool whose versions it keeps.
func (c *Builder) lockPath(spec builder.Spec, provider condaProvider) string {
	name := spec.Hash()
	if spec.Base != nil && spec.Project == nil {
		name += "-" + spec.Base.Hash()
	}
	return filepath.Join(c.dir, uv.LocksOf(spec), name+"-"+project.CondaSubdir()+"-"+provider.lockName())
}

// Renew solves spec again if its lock file is older than age.
func (c *Builder) Renew(ctx context.Context, spec builder.Spec, age time.Duration) error {
	if spec.Locked != nil { // it is its user's
		return nil
	}
	provider, err := c.provider(ctx, c.uv.Tools())
	if err != nil {
		return err
	}
	lock := c.lockPath(spec, provider)
	if !uv.Filled(lock) || !uv.Older(lock, age) {
		return nil
	}
	tmp, remove, err := c.uv.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	w, err := wants(spec)
	if err != nil {
		return err
	}
	job := w.job(provider)
	job.to, job.progress = filepath.Join(tmp, "lock"), func(builder.Stage) {}
	switch err := provider.renew(ctx, c.uv.Tools(), job); {
	case errors.Is(err, errors.ErrUnsupported):
		if err := c.uv.NoFolder(outdated(lock)); err != nil {
			return err
		}
		return safefile.Rename(lock, outdated(lock)) // the next build solves again
	case err != nil:
		return err
	}
	return c.keepLock(job.to, lock, tmp)
}

// keepLock moves a lock file from the scratch folder to its place. One that was made offline stays marked as such.
func (c *Builder) keepLock(made, lock, tmp string) error {
	data, err := envdir.ReadOwn(made, envdir.MaxInside)
	if err == nil {
		err = c.uv.WriteLock(lock, data, tmp)
	}
	if err == nil && uv.IsMakeshift(made) {
		uv.Makeshift(lock)
	}
	return err
}

// condaPlace refuses a path that packages cannot bear: they write it into scripts and Python strings.
func condaPlace(dir string) error {
	if at := strings.IndexAny(filepath.ToSlash(dir), "'\"$`\\\n"); at >= 0 {
		return builder.Errorf(builder.CauseOther,
			"cache_dir in the configuration names another place for environments",
			"conda packages cannot be installed below a folder with %q in its path", filepath.ToSlash(dir)[at])
	}
	return nil
}
