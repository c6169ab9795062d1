package statedir

import (
	"bytes"
	"os"
	"path/filepath"

	"runtimed/internal/lazyregexp"
)

// The files beside the socket. If the state directory is another folder, it has a file with the first name too.
const (
	LockName   = "daemon.lock"
	StatusName = "daemon.json"
	LogName    = "runtimed.log"
)

// LaunchdLabel is the daemon's name as a service of launchd.
const LaunchdLabel = "io.runtimed"

// The forms of the daemon's names: environments, and what is in the trash, perhaps with a number.
var (
	idForm     = lazyregexp.New(`^([a-z][a-z0-9_-]{0,31})-[0-9a-f]{8}$`)
	trashForm  = lazyregexp.New(`^[a-z][a-z0-9_-]{0,31}-[0-9a-f]{8}(\.[0-9]+)*$`)
	recordForm = lazyregexp.New(`^([a-z][a-z0-9_-]{0,31}-[0-9a-f]{8})\.json$`)
	halfForm   = lazyregexp.New(`^\.?([a-z][a-z0-9_-]{0,31}-[0-9a-f]{8}\.json|lease|runtimed\.json)-?[0-9]+$`)
	lockForm   = lazyregexp.New(`^([0-9a-f]{16}-){1,2}((py[0-9]+\.[0-9]+(-[0-9a-f]{8})?\.txt)|` +
		`((linux|osx|win)-[0-9a-z_]+-(rattler\.lock|(conda|mamba|micromamba)\.txt)(\.old)?))(\.damaged(\.[2-9])?)?$`)
	lockText = lazyregexp.New(`^(\s*$|# runtimed: |[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])? ?(==|@ )|` +
		`# platform: |@EXPLICIT|version: [0-9])`)
)

// PoolOf returns the pool of an environment with this id; ok is false if the id is not ours.
func PoolOf(id string) (pool string, ok bool) {
	m := idForm().FindStringSubmatch(id)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// IsTrash reports whether the daemon gives such a name in the trash.
func IsTrash(name string) bool { return trashForm().MatchString(name) }

// RecordOf returns the environment whose build record is at path, or "" for the rest of an interrupted write. ok is
// false if the file is not ours.
func RecordOf(path string) (id string, ok bool) {
	name := filepath.Base(path)
	if !isFile(path) {
		return "", false
	}
	if m := recordForm().FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return "", halfForm().MatchString(name)
}

// IsLock reports whether a lock file of ours is at path, by its name and its content.
func IsLock(path string) bool {
	head, _, _ := bytes.Cut(headOf(path), []byte("\n"))
	return isLockName(path) && lockText().Match(head)
}

// isLockName reports whether a lock file of ours may have this name.
func isLockName(path string) bool { return isFile(path) && HasLockName(path) }

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// HasLockName reports whether a lock file of ours may have this name, perhaps set aside.
func HasLockName(path string) bool { return lockForm().MatchString(filepath.Base(path)) }

// UVConfigHead begins a copy of the user's uv.toml.
const UVConfigHead = "# runtimed: a copy of uv.toml without what is not for builds\n"

// isUVConfig reports whether such a copy is at path.
func isUVConfig(path string) bool {
	return filepath.Base(path) == "uv.toml" && bytes.HasPrefix(headOf(path), []byte(UVConfigHead))
}
