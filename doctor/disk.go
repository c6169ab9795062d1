package doctor

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"runtime"

	"runtimed/config"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// With room for fewer files a build fails, or soon will: an environment has thousands.
const (
	fewInodes = 1000
	lowInodes = 20000
)

func checkSpace(_ context.Context, e *Env) Findings {
	dir := statedir.Standing(e.at.State)
	free, err := envdir.FreeSpace(dir)
	switch least := e.cfg.Build.MinFree; {
	case err != nil:
		return problem("the free room under %s is not known: %v", dir, err)
	case free < least:
		return problem("%s free under %s, less than the %s that build.min_free asks for", safefile.Size(free), dir,
			safefile.Size(least)).
			hint("free some space: runt env gc, uv cache prune; or lower build.min_free in the configuration")
	}
	return fine("%s free under %s", safefile.Size(free), dir)
}

const localDisk = "set RUNTIMED_SOCKET and cache_dir to folders of mode 0700 on a local disk"

// ofMount checks the file system of the state directory, or of where it will be.
func ofMount(check func(dir string, m statedir.Mount) Findings) run {
	return ofState(func(_ context.Context, e *Env) Findings {
		dir := statedir.Standing(e.at.State)
		m, err := statedir.MountOf(dir)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return skipped("not tested: this system does not tell")
		case err != nil:
			return warning("the file system of %s cannot be asked: %v", dir, err)
		}
		return check(e.at.State, m)
	})
}

func checkInodes(dir string, m statedir.Mount) Findings {
	switch say := problem; {
	case m.Inodes <= 0:
		return fine("the file system has no bound")
	case m.Free < lowInodes:
		if m.Free >= fewInodes {
			say = warning
		}
		return say("there is room for %d more files under %s, and one environment has thousands", m.Free, dir).
			hint("delete files there: runt env gc, uv cache prune")
	}
	return fine("room for %d more files", m.Free)
}

func checkFileSystem(dir string, m statedir.Mount) Findings {
	switch {
	case m.ReadOnly:
		return problem("%s is on a file system that is read-only", dir).hint("mount it for writing; or " + localDisk)
	case m.NoLinks:
		return problem("%s is on a file system (%s) without links, which environments need",
			dir, m.Type).hint(localDisk)
	case m.Network:
		return warning("%s is on a network file system (%s): locks may be missing there, and builds are slow", dir,
			m.Type).hint(localDisk)
	case m.Type == "":
		return skipped("not tested: its type is not known")
	}
	return fine("%s", m.Type)
}

func checkNoExec(dir string, m statedir.Mount) Findings {
	if m.NoExec {
		return problem("%s is on a file system that is mounted noexec: no Python can run there", dir).
			hint("set cache_dir in the configuration to a folder on another one")
	}
	return fine("programs can run from the state directory")
}

func checkLinks(_ context.Context, e *Env, _ []config.Pool) Findings {
	if e.cfg.UV.Link == "copy" {
		return skipped("not needed: uv.link is copy")
	}
	cache, ok := linkable(e.environ, e.at.State)
	if !ok && e.at.State == e.at.Own && runtime.GOOS == "linux" && statedir.NetworkOf(cache, "") != "" {
		return fine("not shared with uv's cache (%s), which is on a network: builds use one of their own", cache)
	}
	if !ok {
		return warning("files cannot be shared between uv's cache (%s) and the environments (%s): "+
			"another file system, or it cannot be written", cache, e.at.State).
			hint("builds use a cache of their own, and download what the usual one has; " +
				"or have cache_dir name a folder on its file system")
	}
	return fine("uv's cache (%s) and the environments are on one file system", cache)
}

// linkable reports whether files of uv's usual cache can be linked into environments below dir; else builds have a
// cache of their own.
func linkable(environ []string, dir string) (cache string, ok bool) {
	if cache = cmp.Or(tool.Lookup(environ, "UV_CACHE_DIR"), uv.UsualCache(environ)); !filepath.IsAbs(cache) {
		return cache, false
	}
	stands := statedir.Standing(cache)
	return cache, envdir.SameDevice(stands, statedir.Standing(dir)) && statedir.Writable(stands) == nil
}
