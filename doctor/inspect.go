package doctor

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// What runtimed doctor asks. Nothing here makes, fetches or changes anything that outlives the look, but for
// EndLeftovers.

// Standing is path, or the nearest folder above it that is there: where path would be made.
func Standing(path string) string {
	for up := path; ; up = filepath.Dir(up) {
		if _, err := os.Stat(up); err == nil || up == filepath.Dir(up) {
			return up
		}
	}
}

// Writable says whether files can be made in a folder, as far as that shows without making one.
func Writable(dir string) bool { return envdir.Writable(dir) }

// FreeSpace is what we may still write below dir, in bytes.
func FreeSpace(dir string) (int64, error) { return envdir.FreeSpace(dir) }

// Linkable says whether what uv keeps in its usual cache can be linked into environments below dir: both on one file
// system, and the cache writable. Where it cannot, builds get a cache of their own.
func Linkable(environ []string, dir string) (cache string, ok bool) {
	if cache = cmp.Or(tool.Lookup(environ, "UV_CACHE_DIR"), uv.UsualCache(environ)); !filepath.IsAbs(cache) {
		return cache, false
	}
	stands := Standing(cache)
	return cache, envdir.SameDevice(stands, Standing(dir)) && envdir.Writable(stands)
}

// resolved is the store at dir without making it.
func resolved(dir string) envdir.Store {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return envdir.Store{Dir: dir}
}

// Strays are the names in the folder of environments below dir that no daemon made. It may run beside a daemon: a
// build's record is there before its folder, and goes after its manifest was written.
func Unmanaged(dir string) []string {
	s := resolved(dir)
	entries, err := os.ReadDir(s.Envs())
	if err != nil {
		return nil // none are kept there, or another look says what is wrong with the folder
	}
	var names []string
	for _, e := range entries {
		id := e.Name()
		if strings.HasPrefix(id, ".") || envdir.Exists(s.Record(id)) {
			continue
		}
		_, ours := envdir.PoolOf(id)
		if ours && e.IsDir() {
			_, _, err := s.ReadManifest(id)
			ours = !errors.Is(err, envdir.ErrNoManifest)
		}
		if (!ours || !e.IsDir()) && envdir.Exists(s.Env(id)) {
			names = append(names, id)
		}
	}
	return names
}

// Newest is when the youngest environment below dir was made, by its own manifest, and which one that is.
func Newest(dir string) (id string, at time.Time) {
	s := resolved(dir)
	entries, err := os.ReadDir(s.Envs())
	if err != nil {
		return "", at
	}
	for _, e := range entries {
		if _, ours := envdir.PoolOf(e.Name()); !ours {
			continue
		}
		if m, _, err := s.ReadManifest(e.Name()); err == nil && m.CreatedAt.After(at) {
			id, at = e.Name(), m.CreatedAt
		}
	}
	return id, at
}

// Leftovers are the processes that carry the mark of a build below dir, except this one. While a daemon runs, they are
// its builds.
func Leftovers(dir string) []int {
	pids := proc.Marked(markedBelow(dir))
	slices.Sort(pids)
	return pids
}

// EndLeftovers kills them and returns how many there were. Whoever calls it holds the daemon's locks.
func EndLeftovers(dir string) int { return proc.EndMarked(markedBelow(dir)) }

func markedBelow(dir string) func(mark string) bool {
	s := resolved(dir)
	return func(mark string) bool { return proc.Below(s.Envs(), mark) || mark == s.Tools() }
}
