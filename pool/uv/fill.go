package uv

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Stocked is what a store has for the pools after it was filled.
type Stocked struct {
	Wheels  int
	Bytes   int64
	Without []string // distributions that have no wheel for this machine
}

// FillStore has a store hold what pools are built from today: the lock file of each, its wheels, and the wheel of uv.
// Each file appears whole or not at all. What the store has already is downloaded again only if it is damaged; what it
// has from earlier stays. The state directory of u must be a scratch folder in the store.
func (u *Builder) FillStore(ctx context.Context, dir string, pools map[string]builder.Spec,
	say func(string)) (Stocked, error) {
	all, done := map[string]int64{}, map[string]bool{} // the wheels, and the sets of packages
	var filled Stocked
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		if done[pools[name].Hash()] {
			continue
		}
		done[pools[name].Hash()] = true
		b := &build{Builder: u, spec: pools[name], mark: u.Tools(), anew: true,
			progress: func(s builder.Stage) { say(name + ": " + s.Message) }}
		if err := b.prepare(ctx, 0); err != nil {
			return filled, err
		}
		pip, err := b.withPip(ctx)
		if err != nil {
			return filled, err
		}
		data, err := envdir.ReadOwn(b.path, envdir.MaxInside)
		if err != nil {
			return filled, envdir.DiskError(err)
		}
		hashed, others := entries(data)
		for _, e := range others {
			filled.Without = append(filled.Without, cmp.Or(e.name, e.text))
		}
		say(name + ": downloading what the store lacks")
		for _, list := range [][]entry{{{text: uvRequirements, name: "uv", hashed: true}}, hashed} {
			without, err := b.stock(ctx, dir, pip, list, all)
			if err != nil {
				return filled, err
			}
			filled.Without = append(filled.Without, without...)
		}
		if err := b.putLock(dir); err != nil {
			return filled, err
		}
	}
	for _, size := range all {
		filled.Wheels, filled.Bytes = filled.Wheels+1, filled.Bytes+size
	}
	return filled, nil
}

// withPip returns a Python like that of the pool, with a pip: only pip can fetch wheels without installing them.
func (b *build) withPip(ctx context.Context) (string, error) {
	venv := filepath.Join(b.Tools(), "pip-"+filepath.Base(b.path))
	if err := b.Venv(ctx, b.tool, b.mark, b.python, venv); err != nil {
		return "", err
	}
	python := builder.VenvPython(venv)
	return python, b.tries(ctx, b.inWorkdir, "pip", "install", "--python", python, "pip")
}

// stock downloads wheels into the store. It returns the names of what has none.
func (b *build) stock(ctx context.Context, dir, python string, list []entry, all map[string]int64) (without []string,
	err error) {
	tmp, remove, err := b.Scratch(b.Tools(), statedir.FetchPrefix)
	if err != nil {
		return nil, err
	}
	defer remove()
	env, _, err := b.pipEnv(ctx, b.mark, b.Config(), python)
	if err != nil {
		return nil, err
	}
	index, name := tool.Lookup(b.Environ, "UV_DEFAULT_INDEX"), pipVariable("index-url")
	if index != "" && tool.Lookup(env, name) == "" {
		env = append(env, name+"="+index)
	}
	download := func(list []entry) error {
		file, err := writeEntries(tmp, "requirements.txt", list)
		if err != nil {
			return err
		}
		argv := []string{"-m", "pip", "download", "--progress-bar", "off", "--disable-pip-version-check",
			"--no-input", "--no-deps", "--only-binary", ":all:", "--require-hashes",
			"--dest", filepath.Join(tmp, "wheels"), "-r", file}
		done, err := b.pythonWith(ctx, b.mark, slices.Concat(env, onlyStore(dir)), python, argv...)
		if err != nil && ctx.Err() == nil {
			done, err = b.pythonWith(ctx, b.mark, env, python, argv...)
		}
		if err != nil && ctx.Err() == nil {
			err = b.PipError(python, done.Output, err)
		}
		return err
	}
	for len(list) > 0 {
		err := download(list)
		if err == nil {
			break
		}
		lacking, _ := errors.AsType[*builder.Error](err)
		i := slices.IndexFunc(list, func(e entry) bool {
			return lacking != nil && lacking.Cause == builder.CausePackageNotFound &&
				pyreq.NormalName(lacking.Package) == e.name
		})
		if i < 0 {
			return nil, err
		}
		without, list = append(without, list[i].name), slices.Concat(list[:i], list[i+1:])
	}
	return without, b.putWheels(dir, filepath.Join(tmp, "wheels"), all)
}

// putWheels moves wheels into the store.
func (b *build) putWheels(dir, from string, all map[string]int64) error {
	found, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has a wheel
	}
	for _, e := range found {
		path := filepath.Join(from, e.Name())
		info, lerr := os.Lstat(path)
		if err = cmp.Or(err, lerr); err == nil && info.Mode().IsRegular() {
			all[e.Name()] = info.Size()
			err = cmp.Or(os.Chmod(path, 0o644), safefile.Rename(path, filepath.Join(dir, e.Name())))
		}
	}
	return envdir.DiskError(err)
}

// putLock puts a lock file into the store, after its wheels.
func (b *build) putLock(dir string) error {
	if err := os.Chmod(b.path, 0o644); err != nil {
		return envdir.DiskError(err)
	}
	return envdir.DiskError(safefile.Rename(b.path, filepath.Join(dir, storeLocks, filepath.Base(b.path))))
}

// storeLock is a file that others cannot open. Anybody who can read the folder could hold a lock on that for ever, and
// network file systems have no locks on folders.
const storeLock = ".fill.lock"

// OpenStore makes the store at dir if needed, and a scratch folder in it that close removes. Others can read a store.
func OpenStore(dir string) (scratch string, close func(), err error) {
	for _, path := range []string{dir, filepath.Join(dir, storeLocks)} {
		if safefile.Exists(path) {
			continue
		}
		if err := cmp.Or(os.MkdirAll(path, 0o755), os.Chmod(path, 0o755)); err != nil { // whatever the umask
			return "", nil, err
		}
	}
	if err := CheckStore(dir); err != nil {
		return "", nil, err
	}
	lock := safefile.NewLock(filepath.Join(dir, storeLock))
	if free, err := lock.TryLock(); err != nil || !free {
		return "", nil, cmp.Or(err, errors.New("somebody else fills it"))
	}
	_ = statedir.CleanScratch(dir, statedir.FetchPrefix) // a failure is in nobody's way
	scratch, remove, err := statedir.Scratch(dir, statedir.FetchPrefix)
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return scratch, func() {
		remove()
		_ = lock.Close()
	}, nil
}
