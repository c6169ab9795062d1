package conda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

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
	Provider string // one of the Provider constants; empty is auto
	Path     string // of the provider's program; empty: looked up
}

// Builder builds conda environments with the tool that is there, else with rattler, which needs nothing but uv.
type Builder struct {
	log       *zap.Logger
	dir       string      // the state directory
	environ   []string    // of the daemon
	uv        *uv.Builder // makes the venv that rattler runs in
	Elsewhere []string    // folders that are searched beside those of PATH

	mu      sync.Mutex // guards what follows
	Cfg     Config
	found   condaProvider // nil: not looked for yet
	tool    builder.Tool  // that one, as status tells it
	finding chan struct{} // held by whoever looks for a provider
	tidied  sync.Once
}

// condaProvider is one way to make a conda environment.
type condaProvider interface {
	// create makes an environment at dir, which is not there yet: exactly what the lock file at job.from names, without the network
	// where it can; or where that is empty, what the channels have, and leaves the lock file of that at job.to. It returns a
	// *builder.Error. What is at dir after a failure is removed by the caller.
	create(ctx context.Context, dir string, job condaJob) error
	// renew writes the lock file of what the channels have now to job.to, and builds nothing; mark is that of its children. A
	// provider that cannot tell without building returns errors.ErrUnsupported.
	renew(ctx context.Context, mark string, job condaJob) error
	// lockName is how its lock files end: what one provider wrote is not for another.
	lockName() string
	// usable says whether its program is still there.
	Usable() bool
}

// condaJob is what to make.
type condaJob struct {
	specs    []string // match specs, the one for Python among them
	channels []string // the first counts most
	from, to string   // lock files
	progress func(builder.Stage)
}

// New makes a Builder that keeps lock files and package caches below dir. environ is the daemon's own environment, of which the
// children get what concerns them.
func New(dir string, cfg Config, uv *uv.Builder, environ []string, log *zap.Logger) *Builder {
	return &Builder{log: log, dir: dir, environ: environ, uv: uv, Elsewhere: UsualPlaces, Cfg: cfg, finding: make(chan struct{}, 1)}
}

// Configure puts cfg in force for the builds to come.
func (c *Builder) Configure(cfg Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cfg != c.Cfg {
		c.Cfg, c.found, c.tool = cfg, nil, builder.Tool{}
	}
}

// Tool is the provider in use.
func (c *Builder) Tool() (builder.Tool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tool, c.found != nil
}

// Build makes a conda environment at dir from its lock file, else from what the channels have, and verifies it.
func (c *Builder) Build(ctx context.Context, spec builder.Spec, dir string, progress func(builder.Stage)) (builder.Built, error) {
	if err := condaPlace(dir); err != nil {
		return builder.Built{}, err
	}
	provider, err := c.provider(ctx, dir)
	if err != nil {
		return builder.Built{}, err
	}
	lock := c.lockPath(spec, provider)
	job := condaJob{specs: condaSpecs(spec), channels: spec.Channels, progress: progress}
	if err := c.uv.SoundLock(lock, nil); err != nil {
		return builder.Built{}, err
	}
	locked := uv.Filled(lock)
	built, err := c.attempt(ctx, provider, dir, lock, job)
	if c := builder.CauseOf(err); c != builder.CauseCorrupt && c != builder.CauseVerifyFailed || ctx.Err() != nil || !uv.Filled(lock) {
		return built, err
	}
	if !locked {
		_ = os.Remove(lock) // the next build solves anew
		return built, err
	}
	if _, err := uv.SetAside(c.log, lock, err); err != nil { // once, since there is no lock file now
		return builder.Built{}, err
	}
	if err := envdir.RemoveFolder(dir); err != nil {
		return builder.Built{}, envdir.DiskError(err)
	}
	return c.attempt(ctx, provider, dir, lock, job)
}

// attempt makes the environment from its lock file, else from what the channels have, and verifies it.
func (c *Builder) attempt(ctx context.Context, provider condaProvider, dir, lock string, job condaJob) (builder.Built, error) {
	err := c.fromLock(ctx, provider, dir, lock, job)
	if errors.Is(err, errNoLock) {
		err = c.fromChannels(ctx, provider, dir, lock, job)
	}
	if err != nil {
		return builder.Built{}, err
	}
	job.progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	return c.verified(ctx, dir)
}

// errNoLock: the channels have to be asked.
var errNoLock = errors.New("no lock file that can be used")

// fromLock makes the environment that the lock file names.
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
	case builder.CauseOf(err) == builder.CauseDiskFull, builder.CauseOf(err) == builder.CausePermission, builder.CauseOf(err) == builder.CauseToolMissing:
		return err // another set would meet the same
	}
	c.log.Debug("what is locked cannot be installed; asking the channels", zap.String("lock", lock), zap.Error(err))
	if err := envdir.RemoveFolder(dir); err != nil {
		return envdir.DiskError(err)
	}
	return errNoLock
}

// fromChannels solves anew, and keeps what came of it for the builds to come. Where the channels cannot be reached, a lock file that
// was to be renewed serves on.
func (c *Builder) fromChannels(ctx context.Context, provider condaProvider, dir, lock string, job condaJob) error {
	if err := c.uv.Folder(filepath.Dir(lock)); err != nil {
		return envdir.DiskError(err)
	}
	tmp, remove, err := statedir.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return envdir.DiskError(err)
	}
	defer remove()
	job.to = filepath.Join(tmp, "lock")
	job.progress(builder.Stage{Name: builder.StageResolving, Message: "solving for " + strings.Join(redact.Texts(job.specs), ", ")})
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

// outdated is where the lock file of a provider that cannot renew it waits for the next build.
func outdated(lock string) string { return lock + ".old" }

// lockPath is where the solved set of a spec is kept.
func (c *Builder) lockPath(spec builder.Spec, provider condaProvider) string {
	return filepath.Join(c.dir, "locks", spec.Hash()+"-"+condaSubdir()+"-"+provider.lockName())
}

// Renew solves spec anew where its lock file is older than age.
func (c *Builder) Renew(ctx context.Context, spec builder.Spec, age time.Duration) error {
	provider, err := c.provider(ctx, c.uv.Tools())
	if err != nil {
		return err
	}
	lock := c.lockPath(spec, provider)
	if !uv.Filled(lock) || !uv.Older(lock, age) {
		return nil
	}
	if err := c.uv.Folder(filepath.Dir(lock)); err != nil {
		return envdir.DiskError(err)
	}
	tmp, remove, err := statedir.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return envdir.DiskError(err)
	}
	defer remove()
	job := condaJob{specs: condaSpecs(spec), channels: spec.Channels, to: filepath.Join(tmp, "lock"), progress: func(builder.Stage) {}}
	switch err := provider.renew(ctx, c.uv.Tools(), job); {
	case errors.Is(err, errors.ErrUnsupported):
		if err := c.uv.NoFolder(outdated(lock)); err != nil {
			return err
		}
		return os.Rename(lock, outdated(lock)) // the next build solves anew
	case err != nil:
		return err
	}
	return c.keepLock(job.to, lock, tmp)
}

// keepLock writes the lock file that a provider made, in a scratch folder, to its place. One that was made without the network stays
// marked as such.
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

// condaPlace refuses a path that packages do not stand: they write it into scripts, and some of those into strings of Python.
func condaPlace(dir string) error {
	if at := strings.IndexAny(filepath.ToSlash(dir), "'\"$`\\\n"); at >= 0 {
		return &builder.Error{
			Cause: builder.CauseOther, Message: fmt.Sprintf("conda packages cannot be installed below a folder with %q in its path", filepath.ToSlash(dir)[at]),
			Hint: "cache_dir in the configuration names another place for environments",
		}
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

// condaSubdir is this machine's part of a channel.
func condaSubdir() string {
	system := map[string]string{"linux": "linux", "darwin": "osx", "windows": "win"}[runtime.GOOS]
	machine := map[string]string{"amd64": "64", "386": "32", "arm64": "aarch64"}[runtime.GOARCH]
	switch {
	case machine == "":
		machine = runtime.GOARCH // ppc64le, s390x
	case machine == "aarch64" && system != "linux":
		machine = "arm64"
	}
	return fmt.Sprintf("%s-%s", system, machine)
}
