package statedir

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
)

// The files beside the socket. One with the first name lies in the state directory too, where that is another folder.
const (
	LockName   = "daemon.lock"
	StatusName = "daemon.json"
	LogName    = "runtimed.log"
)

// The forms of the names that the daemon gives. An id is that of an environment; what is in the trash may have a number
// behind it.
var (
	idForm     = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,31})-[0-9a-f]{8}$`)
	trashForm  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}-[0-9a-f]{8}(\.[0-9]+)*$`)
	recordForm = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,31}-[0-9a-f]{8})\.json$`)
	halfForm   = regexp.MustCompile(`^\.?([a-z][a-z0-9_-]{0,31}-[0-9a-f]{8}\.json|lease|runtimed\.json)-?[0-9]+$`)
	lockForm   = regexp.MustCompile(`^[0-9a-f]{16}-((([0-9a-f]{16}-)?py[0-9]+\.[0-9]+(-[0-9a-f]{8})?\.txt)|` +
		`((linux|osx|win)-[0-9a-z_]+-(rattler\.lock|(conda|mamba|micromamba)\.txt)(\.old)?))(\.damaged(\.[2-9])?)?$`)
	lockText = regexp.MustCompile(`^(\s*$|# runtimed: |[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])? ?(==|@ )|` +
		`# platform: |@EXPLICIT|version: [0-9])`)
)

// PoolOf is the pool of an environment with such an id; ok is false for what is no id of ours.
func PoolOf(id string) (pool string, ok bool) {
	m := idForm.FindStringSubmatch(id)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// IsTrash says whether a name in the trash is one that the daemon gives there.
func IsTrash(name string) bool { return trashForm.MatchString(name) }

// RecordOf is the environment whose build record is at path; empty for what a kill left of writing a file. ok is false
// for what is none of ours.
func RecordOf(path string) (id string, ok bool) {
	name := filepath.Base(path)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	if m := recordForm.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return "", halfForm.MatchString(name)
}

// IsLock says whether a lock file of ours is at path, by its name and by what is in it.
func IsLock(path string) bool {
	head, _, _ := bytes.Cut(headOf(path), []byte("\n"))
	return isLockName(path) && lockText.Match(head)
}

// isLockName says whether a file at path has the name of a lock file of ours.
func isLockName(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && lockForm.MatchString(filepath.Base(path))
}

// HasLockName says whether a path has the name of a lock file of ours, or of one that was set aside, whatever is there.
func HasLockName(path string) bool { return lockForm.MatchString(filepath.Base(path)) }

// UVConfigHead is how a copy of the user's uv.toml begins.
const UVConfigHead = "# runtimed: a copy of uv.toml without what is not for builds\n"

// IsUVConfig says whether such a copy is at path.
func IsUVConfig(path string) bool {
	return filepath.Base(path) == "uv.toml" && bytes.HasPrefix(headOf(path), []byte(UVConfigHead))
}
