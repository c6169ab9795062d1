package uv

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"go.uber.org/zap"

	"runtimed/internal/pyreq"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// A pool may be pinned to a lock file of its user's. Then nothing is resolved: its environments are installed from that
// file, with its hashes. What somebody needs beyond the pool is resolved beside it, and changes none of its versions.
// Needs may have hashes as well. In both cases, the hashes of the index give way to those that were given.

// platform is the kind of machine, as a lock file names it.
const platform = runtime.GOOS + "-" + runtime.GOARCH

// pinned reports whether a lock file of the user's says all that is installed.
func (b *build) pinned() bool { return b.spec.Locked != nil && b.spec.Base == nil }

// hashed reports whether somebody gave hashes, so that each package must have some.
func (b *build) hashed() bool { return b.pinned() || len(b.spec.Hashed) > 0 }

// pin writes the user's lock file to where builds look for one.
func (b *build) pin(ctx context.Context) error {
	done, err := b.turns.Take(ctx, b.path)
	if err != nil {
		return err
	}
	defer done()
	return b.Pin(b.path, b.spec.Locked.Text())
}

// Pin has the lock file at path say what a user's says. What is there already may be older: other passwords in it have
// given it no other name.
func (u *Builder) Pin(path, text string) error {
	if err := u.SoundLock(path, nil); err != nil {
		return err
	}
	if has, err := envdir.ReadOwn(path, envdir.MaxInside); err == nil && Unsealed(has) == text {
		return nil
	}
	tmp, remove, err := u.Scratch(filepath.Dir(path), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	return envdir.DiskError(u.WriteLock(path, []byte(text), tmp))
}

// lockFits says why the lock file of the pool is not for this machine, or for the Python that was found; nil if there
// is none, or it is.
func (b *build) lockFits(python Interpreter) error {
	of := b.spec
	if of.Base != nil {
		of = *of.Base
	}
	switch l := of.Locked; {
	case l == nil || l.Python == "" || b.project != nil:
	case l.Platform != platform:
		return builder.Errorf(builder.CauseUnsatisfiable, "make one on a machine like this one: runt pool lock",
			"%s is for %s, and this machine is %s", of.LockFile, l.Platform, platform)
	case python.Version != "" && l.Python != python.minor():
		return builder.Errorf(builder.CauseUnsatisfiable,
			"leave python out, or make a lock file for that version: runt pool lock",
			"%s is for Python %s, and this is Python %s", of.LockFile, l.Python, python.Version)
	}
	return nil
}

// ofLock is a failure in the words of somebody who has a lock file.
func (b *build) ofLock(err error) error {
	var e *builder.Error
	if !b.hashed() || !errors.As(err, &e) {
		return err
	}
	said, from := *e, "the requirements"
	if b.pinned() {
		from = b.spec.LockFile
	}
	switch e.Cause {
	case builder.CauseCorrupt:
		said.Hint = "a hash in " + from + " is wrong, or something alters what is downloaded; the output has both"
	case builder.CauseUnsatisfiable, builder.CausePackageNotFound:
		if e.Output == "" { // it is ours, and says more
			return err
		}
		said.Hint = from + " may be for another Python or platform than Python " + b.python.Version + " on " +
			platform + ", or for another index; the output says what is missing"
	case builder.CauseVerifyFailed:
		if b.pinned() {
			said.Hint = from + " may lack what Python " + b.python.Version + " on " + platform +
				" needs; make one on a machine like this one: runt pool lock"
		}
	}
	return &said
}

// wantedLines are what is resolved.
func (b *build) wantedLines() []string {
	lines := b.spec.Packages
	if base := b.spec.Base; base != nil && base.Locked != nil && b.project == nil {
		for _, e := range base.Locked.Entries {
			lines = append(slices.Clip(lines), e.Requirement)
		}
	}
	return lines
}

// withHashes puts the hashes that were given in the place of those of the index. By pip's rule, where needs have
// hashes, all that is installed for them must have one; what the pool has, has its own.
func (b *build) withHashes(ctx context.Context, lock []byte) ([]byte, error) {
	base := b.spec.Base
	if base == nil || b.project != nil || base.Locked == nil && len(b.spec.Hashed) == 0 {
		return lock, nil
	}
	l, err := pyreq.ReadLock(string(lock), false)
	if err != nil {
		return nil, builder.Errorf(builder.CauseOther, "", "what uv resolved cannot be read: %s", err)
	}
	var given, pools pyreq.Lock
	if len(b.spec.Hashed) > 0 {
		if given, err = pyreq.ReadLock(strings.Join(b.spec.Hashed, "\n"), true); err != nil {
			return nil, err // the daemon wrote them
		}
	}
	if base.Locked != nil {
		pools = *base.Locked
	} else {
		of := *b
		of.spec, of.path = *base, b.lockPath(*base, b.python)
		if err := of.lock(ctx, 0); err != nil { // there is none where the pool was never built
			return nil, err
		}
		if pools, err = pyreq.ReadLock(string(b.poolLock()), false); err != nil {
			return nil, builder.Errorf(builder.CauseOther, "", "the lock file of the pool cannot be read: %s", err)
		}
	}
	for i, e := range l.Entries {
		own, pinned := hashesOf(given, e.Name), []string(nil)
		if base.Locked != nil {
			pinned = hashesOf(pools, e.Name)
		}
		switch {
		case len(own) > 0 && len(pinned) > 0: // a file must have a hash of each
			l.Entries[i].Hashes = slices.DeleteFunc(own, func(h string) bool { return !slices.Contains(pinned, h) })
			if len(l.Entries[i].Hashes) == 0 {
				return nil, noHash(e.Name, "take them from the pool's lock file: runt pool lock",
					"the requirements have other hashes for %s than %s", e.Name, base.LockFile)
			}
		case len(own)+len(pinned) > 0:
			l.Entries[i].Hashes = append(own, pinned...)
		case len(b.spec.Hashed) > 0 && len(pools.Named(e.Name)) == 0:
			return nil, noHash(e.Name, "lock it together with what needs it: uv pip compile --generate-hashes",
				"the requirements have hashes, and none for %s, which they need", e.Name)
		}
	}
	return []byte(l.Text()), nil
}

// hashesOf are all hashes of a distribution, sorted.
func hashesOf(l pyreq.Lock, name string) (list []string) {
	for _, e := range l.Named(name) {
		list = append(list, e.Hashes...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// noHash is the failure for a package that would be installed without one. Its cause is one for which the hint stands.
func noHash(name, hint, format string, args ...any) error {
	err := builder.Errorf(builder.CauseOther, hint, format, args...)
	err.Package = name
	return err
}

// keepLock leaves the lock file of a pool's environment in its folder, without credentials, and returns its hash.
func (b *build) keepLock() (hash string, err error) {
	if b.spec.Base != nil || b.project != nil {
		return "", nil
	}
	data, err := envdir.ReadOwn(b.path, envdir.MaxInside)
	if err != nil {
		return "", envdir.DiskError(err)
	}
	l, err := pyreq.ReadLock(string(data), false)
	if err != nil {
		b.log.Warn("the lock file of a pool cannot be shown", zap.String("lock", b.path), zap.Error(err))
		return "", nil
	}
	if !b.pinned() {
		l.Python, l.Platform = b.python.minor(), platform
	}
	return KeepLock(b.mark, l.Shown())
}

// KeepLock leaves a lock file, as it is shown, in the folder of an environment, and returns its hash.
func KeepLock(dir, shown string) (hash string, err error) {
	err = envdir.WriteWhole(filepath.Join(dir, builder.LockName), []byte(shown), dir)
	return pyreq.LockHash(shown), envdir.DiskError(err)
}
