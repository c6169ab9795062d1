package uv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// lockPath is where the resolved set of a spec is kept. The set depends on the Python's version, the index, and the
// pool whose versions it keeps.
func (u *Builder) lockPath(spec builder.Spec, python Interpreter) string {
	name := spec.Hash()
	if spec.Base != nil {
		name += "-" + spec.Base.Hash()
	}
	name += "-py" + python.minor()
	if index := u.Config().IndexURL; index != "" {
		sum := sha256.Sum256([]byte(index)) // the URL may contain a password
		name += "-" + hex.EncodeToString(sum[:4])
	}
	return filepath.Join(u.Dir, LocksOf(spec), name+".txt")
}

// LocksOf is the folder for the lock file of a spec. Lock files of needs come and go.
func LocksOf(spec builder.Spec) string {
	if spec.Base != nil {
		return filepath.Join("locks", "needs")
	}
	return "locks"
}

// lock makes the lock file if there is none or it is older than age (0 is any age). If a renewal fails, the old one
// stays. Parallel builds resolve once.
func (b *build) lock(ctx context.Context, age time.Duration) error {
	path := b.path
	done, err := b.turns.Take(ctx, path)
	if err != nil {
		return err
	}
	defer done()
	if err := b.SoundLock(path, b.requirements()); err != nil {
		return err
	}
	if Filled(path) && (age <= 0 ||
		!Older(path, age) && (b.spec.Base == nil || b.project != nil ||
			!before(path, b.lockPath(*b.spec.Base, b.python)))) {
		return nil
	}
	what := fewOf(redact.Texts(b.spec.Packages))
	if b.project != nil {
		what = b.project.File
	}
	if b.takeLock(age) {
		return nil
	}
	b.progress(builder.Stage{Name: builder.StageResolving, Message: "resolving " + what})
	err = b.resolve(ctx, Filled(path) && age > 0 && Older(path, age))
	if !builder.Withheld(err) || ctx.Err() != nil || !Filled(path) {
		return err
	}
	if b.spec.Base != nil { // somebody waits, so the next try comes later
		again := time.Now().Add(min(builder.RenewEvery, age) - age)
		_ = os.Chtimes(path, again, again)
	}
	return nil // it is no fault of the lock file
}

// requirements are what a lock file must name.
func (b *build) requirements() []string {
	if b.project != nil {
		return nil
	}
	return b.spec.Packages
}

// before reports whether the file a was last written before the file b.
func before(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && x.ModTime().Before(y.ModTime())
}

// Filled reports whether there is a lock file at path. Anything else there will be replaced.
func Filled(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// fewOf joins as many names as a message has room for.
func fewOf(names []string) string {
	const most = 20
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// lockName is the name by which uv tells what to write.
func (b *build) lockName() string {
	if b.project != nil && b.project.Kind == project.PyProject {
		return project.PyLock
	}
	return "lock.txt"
}

// resolve writes the lock file: every distribution with its version and hashes. old means that it replaces one that
// has expired.
func (b *build) resolve(ctx context.Context, old bool) error {
	lock := b.path
	tmp, remove, err := b.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	in, out := filepath.Join(tmp, "requirements.in"), filepath.Join(tmp, b.lockName())
	if err := os.WriteFile(in, []byte(strings.Join(b.wantedLines(), "\n")+"\n"), 0o600); err != nil {
		return envdir.DiskError(err)
	}
	argv := append([]string{"pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
		"--output-file", out}, b.python.Args()...)
	offline := false // only uv's cache was asked
	if b.project != nil {
		offline, err = b.resolveProject(ctx, out, Filled(lock), argv)
	} else if argv = append(argv, in); b.spec.Base == nil {
		_, err = b.Run(ctx, b.tool, b.mark, argv...)
		if builder.Unreachable(err) && ctx.Err() == nil && !Filled(lock) {
			_, fromCache := b.inWorkdir(ctx, call{args: append(argv, "--offline"), env: b.fromStore()})
			if offline = fromCache == nil; offline {
				err = nil
			}
		}
	} else {
		offline, err = resolveLike(ctx, b.inWorkdir, out, b.poolLock(), old, call{args: argv})
	}
	if err != nil {
		return err
	}
	data, err := envdir.ReadOwn(out, envdir.MaxInside)
	if err != nil {
		return envdir.DiskError(err)
	}
	if data, err = b.withHashes(ctx, data); err != nil {
		return err
	}
	if err := b.WriteLock(lock, data, tmp); err != nil {
		return envdir.DiskError(err)
	}
	if offline {
		b.log.Info("the package index cannot be reached: what uv's cache knows was resolved, and is renewed soon",
			zap.String("lock", lock))
		Makeshift(lock)
	}
	return nil
}

// Makeshift marks a lock file that was made offline as old, so that it is renewed soon.
func Makeshift(lock string) { _ = os.Chtimes(lock, longAgo, longAgo) }

func IsMakeshift(lock string) bool {
	info, err := os.Lstat(lock)
	return err == nil && info.ModTime().Equal(longAgo)
}

var longAgo = time.Unix(1, 0)

// Renew resolves spec again if its lock file is older than age, for builds to come. Ready environments stay.
// The lock file of a pinned pool is its user's.
func (u *Builder) Renew(ctx context.Context, spec builder.Spec, age time.Duration) error {
	if spec.Locked != nil {
		return nil
	}
	locks, err := filepath.Glob(filepath.Join(tool.GlobEscape(u.Dir), "locks", spec.Hash()+"-py*.txt"))
	if err != nil || !slices.ContainsFunc(locks, func(l string) bool { return Older(l, age) }) {
		return err // without starting a process; a missing one is made by the next build
	}
	tool, err := u.Find(ctx, u.Tools(), func(builder.Stage) {})
	if err != nil {
		return err
	}
	u.ForgetPythons() // there may be a newer one
	python, err := u.Interpreter(ctx, tool, u.Tools(), spec.Python, func(builder.Stage) {})
	if err != nil {
		return err
	}
	now := u.lockPath(spec, python)
	for _, l := range locks {
		if l != now && Older(l, age) && statedir.IsLock(l) {
			_ = os.Remove(l) // that Python is not used any more
		}
	}
	if !slices.Contains(locks, now) || !Older(now, age) {
		return nil
	}
	b := &build{Builder: u, spec: spec, mark: u.Tools(), tool: tool, python: python, path: now}
	if b.takeLock(age) {
		return nil
	}
	return b.resolve(ctx, true)
}

func Older(path string, age time.Duration) bool {
	info, err := os.Stat(path)
	return err == nil && time.Since(info.ModTime()).Abs() >= age
}

// Tidy removes what a killed daemon left of its work on tools and lock files.
func (u *Builder) Tidy() {
	u.tidyAside()
	for _, left := range [][2]string{
		{"tools", statedir.FetchPrefix}, {"locks", statedir.ResolvePrefix},
		{filepath.Join("locks", "needs"), statedir.ResolvePrefix},
		{filepath.Join("tools", "compiled"), statedir.CompilePrefix},
	} {
		dir := filepath.Join(u.Dir, left[0])
		if envdir.Ours(u.Dir, dir) != nil {
			continue // behind a link nothing is ours
		}
		if err := statedir.CleanScratch(dir, left[1]); err != nil {
			u.log.Warn("what an earlier daemon left cannot be removed", zap.Error(err))
		}
	}
	u.limitCompiled()
}
