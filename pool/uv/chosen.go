package uv

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// A pool that names no Python gets the newest of this machine. That is chosen once, by a rule that does not depend on
// who starts the daemon, since the PATH of a shell and that of a notebook lead to different ones. What was chosen stays
// until it is gone, and a newer one changes nothing.

// pythonPlaces is where interpreters are looked for: the places of all users and of this one, whatever PATH says.
func pythonPlaces(environ []string) (dirs []string) {
	home := tool.Lookup(environ, tool.HomeVariable)
	patterns := slices.Clone(pythonDirs)
	if filepath.IsAbs(home) {
		for _, dir := range pythonDirsAtHome {
			patterns = append(patterns, filepath.Join(tool.GlobEscape(home), dir))
		}
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		dirs = append(dirs, found...)
	}
	return withoutVenvs(dirs)
}

// pathDirs are the folders of PATH, without those of virtual environments: one may be active, and is its user's.
func pathDirs(environ []string) []string {
	return withoutVenvs(filepath.SplitList(tool.Lookup(environ, "PATH")))
}

func withoutVenvs(dirs []string) []string {
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return !filepath.IsAbs(dir) || envdir.Exists(filepath.Join(filepath.Dir(dir), "pyvenv.cfg"))
	})
}

// Chosen returns the Python that was chosen in the state directory dir, if it will do for want and is still the same.
// ok is false if none was, or it is gone: it does not run, or is another version by now.
func (u *Builder) Chosen(ctx context.Context, mark, dir, want string) (i Interpreter, ok bool) {
	was, ok := statedir.ChosenPython(dir)
	if !ok || !builder.Satisfies(was.Version, want) {
		return i, false
	}
	i, err := u.Ask(ctx, mark, was.Path)
	ok = err == nil && i.minor() == (Interpreter{Version: was.Version}).minor() && builder.Satisfies(i.Version, want)
	if !ok && ctx.Err() == nil {
		u.log.Info("the Python that was chosen is gone", zap.String("path", was.Path),
			zap.String("version", was.Version), zap.String("now", i.Version), zap.Error(err))
	}
	return i, ok
}

// choose makes a Python the chosen one, and writes it down.
func (u *Builder) choose(i Interpreter) {
	u.remember("", i)
	p := statedir.Python{Path: i.Path, Version: i.Version}
	if was, ok := statedir.ChosenPython(u.Dir); ok && was == p {
		return
	}
	u.log.Info("Python chosen", zap.String("path", p.Path), zap.String("version", p.Version))
	path := statedir.PythonFile(u.Dir)
	data, err := json.Marshal(p)
	if err == nil {
		err = u.writeChoice(path, append(data, '\n'))
	}
	if err != nil {
		u.log.Warn("the choice of Python cannot be written down, so the next daemon may choose another", zap.Error(err))
	}
}

func (u *Builder) writeChoice(path string, data []byte) error {
	tmp, remove, err := u.Scratch(u.Tools(), statedir.FetchPrefix)
	if err != nil {
		return err
	}
	defer remove()
	if err := u.unless(path, func(i fs.FileInfo) bool { return i.Mode().IsRegular() }, "it is not a file"); err != nil {
		return err
	}
	return envdir.WriteWhole(path, data, tmp)
}

// adopt chooses the Python that the newest ready environment of the pool has, where none was chosen: an earlier version
// of the daemon made it, and an upgrade shall not change it.
func (b *build) adopt(ctx context.Context, pool builder.Spec) {
	if _, ok := statedir.ChosenPython(b.Dir); ok || pool.Python != "" {
		return
	}
	store, hash := envdir.Store{Dir: b.Dir}, pool.Hash()
	var newest envdir.Manifest
	for _, path := range b.entries("envs") {
		m, _, err := store.ReadManifest(filepath.Base(path))
		if err == nil && m.SpecHash == hash && m.CreatedAt.After(newest.CreatedAt) {
			newest = m
		}
	}
	base, err := os.Readlink(newest.Python)
	if err != nil || !filepath.IsAbs(base) {
		return // none, or Windows, where it is no link
	}
	if i, err := b.Ask(ctx, b.mark, base); err == nil && i.Version == newest.PythonVersion {
		b.choose(i)
	}
}

// find finds the Python for want.
func (b *build) find(ctx context.Context, want string) (Interpreter, error) {
	if want != "" {
		return b.Interpreter(ctx, b.tool, b.mark, want, b.progress)
	}
	pool := b.spec
	if pool.Base != nil {
		pool = *pool.Base
	}
	b.adopt(ctx, pool)
	i, err := b.Interpreter(ctx, b.tool, b.mark, want, b.progress)
	if err == nil {
		b.choose(i)
	}
	return i, err
}
