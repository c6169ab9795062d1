package statedir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
)

// Stays says why something was not removed.
type Stays struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// caches are the folders below tools where tools keep packages, with the names that they give. Others may have such
// folders. Our mark goes last, with the folder: after a kill the rest is still known to be ours.
var caches = map[string]*regexp.Regexp{
	"rattler":  regexp.MustCompile(`^(pkgs|repodata|\.auth-[a-z0-9_]{8})$`),
	"uv-cache": regexp.MustCompile(`^(CACHEDIR\.TAG|\.gitignore|\.git|\.lock|[a-z-]+-v[0-9]+|\.tmp[A-Za-z0-9]+)$`),
	"mamba":    regexp.MustCompile(`^pkgs$`),
}

// kept returns what the daemon made below the state directory dir, except environments. usual means that dir is its
// default place, where our names are enough; elsewhere the content must prove it.
func kept(dir string, usual bool) (paths []string) {
	add := func(ours func(path string) bool, elem ...string) {
		in := filepath.Join(append([]string{dir}, elem...)...)
		if safefile.Folder(filepath.Dir(in)) != nil || safefile.Folder(in) != nil {
			return // absent, or behind a link
		}
		entries, _ := os.ReadDir(in) // what cannot be read stays
		for _, e := range entries {
			if path := filepath.Join(in, e.Name()); ours(path) {
				paths = append(paths, path)
			}
		}
	}
	for _, elem := range [][]string{{"locks", "needs"}, {"locks"}} {
		add(func(path string) bool {
			return IsLock(path) || usual && isLockName(path) || isScratch(path, ResolvePrefix)
		}, elem...)
	}
	add(func(path string) bool {
		tool := IsTool(path) || usual && toolForm().MatchString(filepath.Base(path)) && safefile.Folder(path) == nil
		return tool || isUVConfig(path) || isPython(path, usual) || isScratch(path, FetchPrefix)
	}, "tools")
	add(func(path string) bool { return IsCompiled(path) || isScratch(path, CompilePrefix) }, "tools", "compiled")
	for name, names := range caches {
		at := filepath.Join(dir, "tools", name)
		if usual || marked(at) || marked(filepath.Join(at, "pkgs")) {
			add(func(path string) bool { return names.MatchString(filepath.Base(path)) }, "tools", name)
		}
	}
	return paths
}

// emptied returns the folders of kept, inner ones first. They are the daemon's once they are empty.
func emptied(dir string) (paths []string) {
	for _, name := range []string{"locks/needs", "locks", "tools/rattler", "tools/uv-cache", "tools/mamba",
		"tools/compiled", "tools/empty", "tools"} {
		paths = append(paths, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return paths
}

var (
	logForm = lazyregexp.New(`^runtimed(\.log|-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}\.[0-9]{3}` +
		`(-[a-z]+)?\.log(\.gz|\.zst)?)$`)
	statusForm = lazyregexp.New(`^(daemon\.json|\.?daemon\.json-?[0-9]+)$`)
	probeForm  = lazyregexp.New(`^\.writable-[0-9]+$`)
	hostLine   = lazyregexp.New(`^[A-Z2-7]{26} [0-9]{10} [^\n]*\n?$`)
	lockLine   = lazyregexp.New(`^[0-9]+ [^\n]*\n?$`)
	// ~ a log line, or a trace
	logHead = lazyregexp.New(`^(\{"level":"|panic: |fatal error: |SIG|goroutine )`)
)

// has reports whether a regular file is at path and is empty or begins so. One that cannot be read does not.
func has(path string, begins func(head []byte) bool) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && (info.Size() == 0 || begins(headOf(path)))
}

// isLockFile reports whether the file at path is a daemon.lock, or empty.
func isLockFile(path string) bool { return has(path, lockLine().Match) }

// IsLog reports whether the file at path is a daemon's log, or empty.
func IsLog(path string) bool { return has(path, logHead().Match) }

// IsStatus reports whether the file at path is a daemon.json, or empty.
func IsStatus(path string) bool {
	return has(path, func(head []byte) bool {
		return bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(`"endpoint"`)) &&
			bytes.Contains(head, []byte(`"pid"`))
	})
}

// beside returns the daemon's files in the folder of the socket or the state directory, except the socket and the
// lock.
func beside(dir string, usual bool) (paths []string) {
	if SocketIsFile {
		paths = DeadStandbys(dir)
	}
	entries, _ := os.ReadDir(dir) // what cannot be read stays
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path, ours := filepath.Join(dir, e.Name()), false
		switch name := e.Name(); {
		case probeForm().MatchString(name):
			info, err := e.Info()
			ours = err == nil && info.Size() == 0
		case logForm().MatchString(name):
			ours = usual || IsLog(path)
		case name == hostName:
			ours = usual || has(path, hostLine().Match)
		case statusForm().MatchString(name): // copies by people have such names too
			ours = usual || IsStatus(path)
		}
		if ours {
			paths = append(paths, path)
		}
	}
	return paths
}

// RemoveAll removes each of paths, which are below dir, and returns what stays.
func RemoveAll(dir string, paths []string) (stays []Stays) {
	for _, path := range paths {
		name, err := filepath.Rel(dir, path)
		if err == nil {
			err = RemoveTree(dir, name, nil)
		}
		if err != nil {
			stays = append(stays, Stays{path, err.Error()})
		}
	}
	return stays
}

// mountedAbove reports whether something is mounted between dir and path.
func mountedAbove(dir, path string) bool {
	for up := path; up != dir && filepath.Dir(up) != dir && filepath.Dir(up) != up; {
		if up = filepath.Dir(up); IsMount(up) || safefile.Folder(up) != nil {
			return true
		}
	}
	return false
}

// RemoveEmpty removes each empty folder of paths, which are dir or below it, and returns what stays.
func RemoveEmpty(dir string, paths []string) (stays []Stays) {
	for _, path := range paths {
		if safefile.Folder(path) != nil || mountedAbove(dir, path) {
			continue // absent, a link or a mount
		}
		if marked(path) {
			if entries, err := os.ReadDir(path); err == nil && len(entries) == 1 {
				_ = os.Remove(filepath.Join(path, markName)) // if it stays, so does the folder
			}
		}
		switch err := os.Remove(path); {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case IsMount(path):
			stays = append(stays, Stays{path, (&MountError{path}).Error()})
		default:
			stays = append(stays, Stays{path, "something is in it that the daemon did not make"})
		}
	}
	return stays
}
