package conda

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/redact"
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
	preload  []string // of builder.Spec
	channels []string // by priority
	from, to string   // lock files
	progress func(builder.Stage)
	again    bool // after a failed try
}

// New returns a Builder that keeps lock files and package caches below dir. environ is the daemon's environment, of
// which children get a part.
func New(dir string, cfg Config, uv *uv.Builder, environ []string, log *zap.Logger) *Builder {
	c := &Builder{log: log, dir: dir, environ: environ, uv: uv, Elsewhere: usualPlaces}
	c.Configure(cfg)
	return c
}

// Build makes a conda environment at dir from its lock file, else from the channels, and verifies it.
func (c *Builder) Build(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	if err := condaPlace(dir); err != nil {
		return builder.Built{}, err
	}
	provider, err := c.provider(ctx, dir)
	if err != nil {
		return builder.Built{}, err
	}
	lock := c.lockPath(spec, provider)
	job := condaJob{specs: condaSpecs(spec), preload: spec.Preload, channels: spec.Channels, progress: progress}
	if err := c.uv.SoundLock(lock, nil); err != nil {
		return builder.Built{}, err
	}
	locked := uv.Filled(lock)
	built, err := c.attempt(ctx, provider, dir, lock, job)
	if c := builder.CauseOf(err); c != builder.CauseCorrupt && c != builder.CauseVerifyFailed || ctx.Err() != nil ||
		!uv.Filled(lock) {
		return built, err
	}
	if !locked {
		_ = os.Remove(lock) // the next build solves again
		return built, err
	}
	if _, err := uv.SetAside(c.log, lock, err); err != nil { // only once, since then there is no lock file
		return builder.Built{}, err
	}
	if err := envdir.RemoveFolder(dir); err != nil {
		return builder.Built{}, envdir.DiskError(err)
	}
	job.again = true
	return c.attempt(ctx, provider, dir, lock, job)
}

// attempt is one try of Build.
func (c *Builder) attempt(ctx context.Context, provider condaProvider, dir, lock string,
	job condaJob) (builder.Built, error) {
	err := c.fromLock(ctx, provider, dir, lock, job)
	if errors.Is(err, errNoLock) {
		err = c.fromChannels(ctx, provider, dir, lock, job)
	}
	if err != nil {
		return builder.Built{}, err
	}
	job.progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	var compiled uv.Compiled
	if !provider.compiles() {
		compiled = c.uv.Compiled(dir, lock, job.again, job.preload)
	}
	built, err := c.verified(ctx, dir, compiled.Link(ctx), job.preload)
	if err == nil {
		compiled.Keep(ctx)
	}
	return built, err
}

// errNoLock means that the channels must be asked.
var errNoLock = errors.New("no lock file that can be used")

// fromLock makes the environment of the lock file.
func (c *Builder) fromLock(ctx context.Context, provider condaProvider, dir, lock string, job condaJob) error {
	if !uv.Filled(lock) {
		return errNoLock
	}
	job.from = lock
	job.progress(builder.Stage{Name: builder.StageInstalling, Message: "installing what is locked"})
	err := provider.create(ctx, dir, job)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case builder.CauseOf(err) == builder.CauseDiskFull, builder.CauseOf(err) == builder.CausePermission,
		builder.CauseOf(err) == builder.CauseToolMissing:
		return err // another set would fail the same way
	}
	c.log.Debug("what is locked cannot be installed; asking the channels", zap.String("lock", lock), zap.Error(err))
	if err := envdir.RemoveFolder(dir); err != nil {
		return envdir.DiskError(err)
	}
	return errNoLock
}

// fromChannels solves, and keeps the lock file for later builds. If the channels cannot be reached, an outdated lock
// file serves.
func (c *Builder) fromChannels(ctx context.Context, provider condaProvider, dir, lock string, job condaJob) error {
	tmp, remove, err := c.uv.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	job.to = filepath.Join(tmp, "lock")
	job.progress(builder.Stage{Name: builder.StageResolving,
		Message: "solving for " + strings.Join(redact.Texts(job.specs), ", ")})
	err = provider.create(ctx, dir, job)
	if builder.CauseOf(err) == builder.CauseNetwork && ctx.Err() == nil && uv.Filled(outdated(lock)) {
		if err := envdir.RemoveFolder(dir); err != nil {
			return envdir.DiskError(err)
		}
		if c.fromLock(ctx, provider, dir, outdated(lock), job) == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if err := c.keepLock(job.to, lock, tmp); err != nil {
		return envdir.DiskError(err)
	}
	_ = os.Remove(outdated(lock))
	return nil
}

// outdated is where a lock file waits for the next build, if its provider can renew only by building.
func outdated(lock string) string { return lock + ".old" }

// lockPath is where the solved set of a spec is kept.
func (c *Builder) lockPath(spec builder.Spec, provider condaProvider) string {
	return filepath.Join(c.dir, "locks", spec.Hash()+"-"+project.CondaSubdir()+"-"+provider.lockName())
}

// Renew solves spec again if its lock file is older than age.
func (c *Builder) Renew(ctx context.Context, spec builder.Spec, age time.Duration) error {
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
	job := condaJob{specs: condaSpecs(spec), channels: spec.Channels, to: filepath.Join(tmp, "lock"),
		progress: func(builder.Stage) {}}
	switch err := provider.renew(ctx, c.uv.Tools(), job); {
	case errors.Is(err, errors.ErrUnsupported):
		if err := c.uv.NoFolder(outdated(lock)); err != nil {
			return err
		}
		return os.Rename(lock, outdated(lock)) // the next build solves again
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

// condaSpecs are the match specs of a spec.
func condaSpecs(spec builder.Spec) []string {
	python := "python"
	if spec.Python != "" {
		python += "=" + spec.Python
	}
	return append([]string{python}, spec.Packages...)
}
