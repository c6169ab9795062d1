package uv

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/internal/project"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// needsKept is how long a lock file of needs stays unused.
const needsKept = 30 * 24 * time.Hour

// Prepare finds uv and the Python for spec, and resolves it. If spec names an interpreter other than the pool's, no
// environment of the pool will do, whatever its version, and Prepare returns no version.
func (u *Builder) Prepare(ctx context.Context, spec builder.Spec, mark string, age time.Duration,
	progress func(builder.Stage)) (string, error) {
	u.ForgetNeeds()
	b := &build{Builder: u, spec: spec, mark: mark, progress: progress}
	err := b.prepare(ctx, age)
	switch { // what is there already would stay, and its hash would not be compared
	case err != nil:
		return b.python.Version, b.ofLock(err)
	case len(spec.Hashed) > 0, b.project != nil && b.project.Kind == project.Requirements:
		return "", nil
	}
	if b.project != nil || spec.Base == nil || !filepath.IsAbs(spec.Python) ||
		spec.Python == spec.Base.Python {
		return b.python.Version, err
	}
	if pools, err := u.Interpreter(ctx, b.tool, mark, spec.Base.Python, progress); err != nil ||
		!sameFile(pools.Path, b.python.Path) {
		return "", ctx.Err()
	}
	return b.python.Version, nil
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// Extend brings the finished environment at dir to the lock file of spec, and verifies it.
func (u *Builder) Extend(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	before := allDistributions(dir)
	b := &build{Builder: u, spec: spec, mark: dir, progress: progress}
	return b.withRepair(ctx, func() (builder.Built, error) {
		return b.populate(ctx, func() bool {
			after := allDistributions(dir)
			return len(before) > 0 &&
				!slices.ContainsFunc(before, func(p builder.Package) bool { return !slices.Contains(after, p) })
		})
	})
}

// allDistributions lists what is installed in a venv; nil if that cannot be read.
func allDistributions(dir string) (list []builder.Package) {
	sites, _ := sitePackages(dir)
	for _, site := range sites {
		found, err := distributions(site)
		if err != nil {
			return nil
		}
		list = append(list, found...)
	}
	return list
}

// poolLock is the lock file of the pool that the spec adds to, whose versions are preferred; empty if there is none.
func (b *build) poolLock() (data []byte) {
	if l := b.spec.Base.Locked; l != nil {
		return []byte(l.Text())
	}
	if path := b.lockPath(*b.spec.Base, b.python); lockFault(path, nil) == nil {
		data, _ = envdir.ReadOwn(path, envdir.MaxInside)
	}
	return data
}

// resolveLike resolves into the file out, keeping the versions of the lock file like where possible: uv prefers what
// its output file names. A first resolution asks uv's cache alone, which takes milliseconds. The answer counts only
// if the cache had all that it knows by name, else an old version would pass for the newest. A renewal asks the
// index.
func resolveLike(ctx context.Context, run runner, out string, like []byte, renew bool,
	c call) (offline bool, err error) {
	prefer := func() error { return envdir.DiskError(os.WriteFile(out, like, 0o600)) }
	var fromCache []byte
	if !renew {
		if err := prefer(); err != nil {
			return false, err
		}
		first := c
		first.args, first.env = append(slices.Clone(c.args), "--offline"), []string{"RUST_LOG=uv_resolver=warn"}
		done, err := run(ctx, first)
		switch {
		case ctx.Err() != nil:
			return false, err
		case err == nil && !strings.Contains(done.Output, "WARN"):
			return false, nil
		case err == nil:
			fromCache, _ = envdir.ReadOwn(out, envdir.MaxInside) // an error counts as none
		}
	}
	if err := prefer(); err != nil {
		return false, err
	}
	_, err = run(ctx, c)
	if len(fromCache) > 0 && ctx.Err() == nil && builder.Withheld(err) {
		return true, envdir.DiskError(os.WriteFile(out, fromCache, 0o600))
	}
	return false, err
}

// interpreter finds the Python for the spec. It takes the pool's if that will do, since then an environment of the pool
// can be extended.
func (b *build) interpreter(ctx context.Context) (Interpreter, error) {
	spec := b.spec
	if spec.Project != nil {
		return b.projectPython(ctx)
	}
	if filepath.IsAbs(spec.Python) {
		python, err := b.find(ctx, spec.Python)
		if err == nil && !builder.Satisfies(python.Version, spec.RequiresPython) {
			err = builder.Errorf(builder.CausePythonMissing, "name another one, or leave it to the daemon to find one",
				"needs Python %s, and %s is %s", spec.RequiresPython, spec.Python, python.Version)
		}
		return python, err
	}
	if spec.Base != nil && spec.Python != spec.Base.Python {
		python, err := b.find(ctx, spec.Base.Python)
		if err == nil && builder.Satisfies(python.Version, spec.Python) {
			return python, nil
		}
		if ctx.Err() != nil {
			return Interpreter{}, ctx.Err()
		}
	}
	return b.find(ctx, spec.Python)
}

// ForgetNeeds removes lock files of needs that were resolved long ago.
func (u *Builder) ForgetNeeds() {
	for _, path := range u.entries(filepath.Join("locks", "needs")) {
		if statedir.IsLock(path) && Older(path, needsKept) {
			_ = os.Remove(path)
		}
	}
}
