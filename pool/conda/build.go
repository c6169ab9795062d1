package conda

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/pyreq"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// build is the making of one environment.
type build struct {
	*Builder
	provider condaProvider
	w        wanted
	dir      string // of the environment
	pinned   string // the path of the user's lock file that says all that is installed; or empty
	lock     string // the lock file
	job      condaJob

	compiledOf    string   // the lock file whose compiled code is used
	compiledWith  []string // the modules for which that was compiled
	compiledFixed bool     // none is added to it
}

// withRepair makes the environment, once more if that failed and the lock file may be why.
func (b *build) withRepair(ctx context.Context) (builder.Built, error) {
	locked := uv.Filled(b.lock)
	built, err := b.attempt(ctx)
	if b.pinned != "" { // it is not ours to replace
		return built, b.ofLock(err)
	}
	if c := builder.CauseOf(err); c != builder.CauseCorrupt && c != builder.CauseVerifyFailed || ctx.Err() != nil ||
		!uv.Filled(b.lock) {
		return built, err
	}
	if !locked {
		_ = os.Remove(b.lock) // the next build solves again
		return built, err
	}
	if _, err := uv.SetAside(b.log, b.lock, err); err != nil { // only once, since then there is no lock file
		return builder.Built{}, err
	}
	if err := envdir.RemoveFolder(b.dir); err != nil {
		return builder.Built{}, envdir.DiskError(err)
	}
	b.job.again = true
	return b.attempt(ctx)
}

// attempt is one try.
func (b *build) attempt(ctx context.Context) (builder.Built, error) {
	err := b.fromLock(ctx, b.lock)
	if errors.Is(err, errNoLock) {
		err = b.fromChannels(ctx)
	}
	if err == nil {
		err = b.complete(ctx, b.dir, b.w, b.job)
	}
	if err != nil {
		return builder.Built{}, err
	}
	b.job.progress(builder.Stage{Name: builder.StageVerifying, Message: "importing the kernel"})
	var compiled uv.Compiled
	if !b.provider.compiles() {
		compiled = b.uv.Compiled(b.dir, b.compiledOf, b.job.again, b.compiledWith)
	}
	built, err := b.verified(ctx, b.dir, compiled.Link(ctx), b.job.preload)
	if err == nil && !b.compiledFixed {
		compiled.Keep(ctx)
	}
	return built, err
}

// errNoLock means that the channels must be asked.
var errNoLock = errors.New("no lock file that can be used")

// fromLock makes the environment of a lock file.
func (b *build) fromLock(ctx context.Context, lock string) error {
	job := b.job
	if !uv.Filled(lock) {
		return errNoLock
	}
	job.from = lock
	job.progress(builder.Stage{Name: builder.StageInstalling, Message: "installing what is locked"})
	err := b.provider.create(ctx, b.dir, job)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case builder.CauseOf(err) == builder.CauseDiskFull, builder.CauseOf(err) == builder.CausePermission,
		builder.CauseOf(err) == builder.CauseToolMissing, builder.CauseOf(err) == builder.CauseLockOutdated,
		builder.CauseOf(err) == builder.CauseCertificate:
		return err // another set would fail the same way
	}
	if b.pinned != "" {
		return err
	}
	b.log.Debug("what is locked cannot be installed; asking the channels", zap.String("lock", lock), zap.Error(err))
	if err := envdir.RemoveFolder(b.dir); err != nil {
		return envdir.DiskError(err)
	}
	return errNoLock
}

// fromChannels solves, and keeps the lock file for later builds. If the channels cannot be reached, an outdated lock
// file serves. What a project has locked is not solved.
func (b *build) fromChannels(ctx context.Context) error {
	job, lock := b.job, b.lock
	tmp, remove, err := b.uv.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	job.to = filepath.Join(tmp, "lock")
	message := "solving for " + strings.Join(redact.Texts(slices.Concat(job.specs, job.extra)), ", ")
	if job.pixi != nil {
		message = "reading " + job.pixi.File
	}
	job.progress(builder.Stage{Name: builder.StageResolving, Message: message})
	err = b.provider.create(ctx, b.dir, job)
	if builder.Unreachable(err) && ctx.Err() == nil && uv.Filled(outdated(lock)) {
		if err := envdir.RemoveFolder(b.dir); err != nil {
			return envdir.DiskError(err)
		}
		if b.fromLock(ctx, outdated(lock)) == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if job.pixi != nil && !envdir.Exists(job.to) {
		return nil // it says it all
	}
	if err := b.keepLock(job.to, lock, tmp); err != nil {
		return envdir.DiskError(err)
	}
	_ = os.Remove(outdated(lock))
	return nil
}

// outdated is where a lock file waits for the next build, if its provider can renew only by building.
func outdated(lock string) string { return lock + ".old" }

// leaveLock leaves a pool's lock file in the environment's folder, without tokens and passwords, and returns its hash.
func (b *build) leaveLock() (hash string, err error) {
	lock := b.lock
	if !uv.Filled(lock) { // the channels could not be reached
		lock = outdated(lock)
	}
	data, err := envdir.ReadOwn(lock, envdir.MaxInside)
	if err != nil {
		return "", envdir.DiskError(err)
	}
	return uv.KeepLock(b.dir, pyreq.Lock{Conda: uv.Unsealed(data)}.Shown())
}

// ofLock is a failure in the words of somebody who has a lock file.
func (b *build) ofLock(err error) error {
	var e *builder.Error
	if !errors.As(err, &e) {
		return err
	}
	said := *e
	switch e.Cause {
	case builder.CauseCorrupt, builder.CauseNetwork:
		said.Hint = "a hash or an address in " + b.pinned + " may be wrong, or it has nothing for " +
			project.CondaSubdir() + "; or something alters what is downloaded"
	case builder.CauseVerifyFailed:
		said.Hint = b.pinned + " may lack what is needed here; make one on a machine like this one: runt pool lock"
	}
	return &said
}
