package uv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

// Lock files and tools may be damaged by a disk, a crash or a hand. They are set aside under a name beside their own,
// and made again. What is set aside stays until the daemon's next start or the next damage. A folder that others may
// have filled is never deleted; the next name then gets a number.
const asideSuffix = ".damaged"

// SetAside renames what is at path, logs it, and returns the new path.
func SetAside(log *zap.Logger, path string, why error) (aside string, err error) {
	aside = path + asideSuffix
	err = dropAside(aside)
	for n := 2; err != nil && n <= 9; n++ {
		aside = fmt.Sprintf("%s%s.%d", path, asideSuffix, n)
		err = dropAside(aside)
	}
	if err == nil {
		err = safefile.Rename(path, aside)
	}
	if err != nil {
		return "", envdir.DiskError(fmt.Errorf("%w; it cannot be set aside: %w", why, err))
	}
	log.Warn("what builds use is damaged: it was set aside and is made anew",
		zap.String("path", path), zap.String("aside", aside), zap.String("why", why.Error()))
	return aside, nil
}

var asideForm = regexp.MustCompile(`\.damaged(\.[2-9])?$`)

// dropAside removes what was set aside before.
func dropAside(aside string) error {
	if statedir.IsTool(aside) {
		return statedir.RemoveTool(aside)
	}
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tidyAside removes what an earlier daemon set aside, if its form is ours alone.
func (u *Builder) tidyAside() {
	for _, dir := range []string{"locks", filepath.Join("locks", "needs"), "tools"} {
		for _, path := range u.entries(dir) {
			if asideForm.MatchString(path) && (statedir.HasLockName(path) || statedir.IsTool(path)) {
				_ = dropAside(path) // what stays is in nobody's way
			}
		}
	}
}

// entries are the paths in a folder below the state directory; none if it is not ours or cannot be read.
func (u *Builder) entries(dir string) (paths []string) {
	dir = filepath.Join(u.Dir, dir)
	if envdir.Ours(u.Dir, dir) != nil {
		return nil
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths
}

// Folder makes a folder of ours below the state directory, and sets aside whatever is in its place.
func (u *Builder) Folder(dir string) error {
	err := envdir.Usable(u.Dir, dir)
	var other *safefile.Error
	// directly below the state directory it may be the user's
	if errors.As(err, &other) && filepath.Dir(other.Path) != u.Dir {
		if _, err := SetAside(u.log, other.Path, other); err != nil {
			return err
		}
		err = envdir.Usable(u.Dir, dir)
	}
	if err != nil {
		return err
	}
	if info, err := os.Lstat(dir); err == nil && info.Mode().Perm()&0o700 != 0o700 {
		_ = os.Chmod(dir, 0o700) // a failure shows in what follows
	}
	return nil
}

// Scratch makes a folder for unfinished work in a folder of ours. remove deletes it. The error is a *builder.Error.
func (u *Builder) Scratch(dir, prefix string) (tmp string, remove func(), err error) {
	if err = u.Folder(dir); err == nil {
		tmp, remove, err = statedir.Scratch(dir, prefix)
	}
	return tmp, remove, envdir.DiskError(err)
}

// NoFile sets aside what is in the place of a folder that a tool will make.
func (u *Builder) NoFile(dir string) error {
	return u.unless(dir, fs.FileInfo.IsDir, "it is not a folder")
}

// unless sets aside what is at path, unless it is right.
func (u *Builder) unless(path string, right func(fs.FileInfo) bool, why string) error {
	info, err := os.Lstat(path)
	if err != nil || right(info) {
		return nil
	}
	_, err = SetAside(u.log, path, errors.New(why))
	return err
}

// NoFolder sets aside a folder in the place of a file.
func (u *Builder) NoFolder(path string) error {
	return u.unless(path, func(i fs.FileInfo) bool { return !i.IsDir() }, "it is a folder")
}

// seal begins the first line of a lock file, which proves it whole. Lock files of earlier versions have none.
const seal = "# runtimed: sha256 "

// Sealed returns the content of the lock file at path.
func Sealed(path string, data []byte) []byte {
	return append([]byte(seal+proof(path, data)+"\n"), data...)
}

// Unsealed is the content of a lock file without its seal.
func Unsealed(data []byte) string {
	if !bytes.HasPrefix(data, []byte(seal)) {
		return string(data)
	}
	_, body, _ := bytes.Cut(data, []byte("\n"))
	return string(body)
}

func isSealed(path string) bool {
	data, err := envdir.ReadOwn(path, envdir.MaxInside)
	return err == nil && bytes.HasPrefix(data, []byte(seal))
}

// proof covers the name too, so that no lock file passes for that of another set.
func proof(path string, data []byte) string {
	name := strings.TrimSuffix(filepath.Base(path), ".old")
	sum := sha256.Sum256(append([]byte(name+"\n"), data...))
	return hex.EncodeToString(sum[:])
}

var lockedName = regexp.MustCompile(`(?m)^` + packageName + `(?:\[[^\]\n]*\])? ?(?:==|@)`)

// lockFault says why the file at path cannot be the lock file for these requirements; nil if it can, or is absent.
// What the machine cannot read right now is not damaged.
func lockFault(path string, requirements []string) error {
	data, err := envdir.ReadOwn(path, envdir.MaxInside)
	var other *safefile.Error
	switch {
	case errors.As(err, &other), errors.Is(err, fs.ErrPermission):
		return err
	case err != nil || len(data) == 0:
		return nil
	}
	if rest, ok := bytes.CutPrefix(data, []byte(seal)); ok {
		if sum, body, _ := bytes.Cut(rest, []byte("\n")); string(sum) != proof(path, body) {
			return errors.New("it is not as it was written")
		}
		return nil
	}
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return errors.New("it is not text")
	}
	locked := map[string]bool{}
	for _, m := range lockedName.FindAllSubmatch(data, -1) {
		locked[pyreq.NormalName(string(m[1]))] = true
	}
	for _, r := range requirements {
		m := requirementName.FindStringSubmatch(r)
		if m != nil && !strings.ContainsAny(r, ";/\\") && !locked[pyreq.NormalName(m[1])] {
			return errors.New("it does not name " + m[1])
		}
	}
	return nil
}

var requirementName = regexp.MustCompile(`^\s*` + packageName)

// WriteLock writes the lock file at path. tmp is a scratch folder.
func (u *Builder) WriteLock(path string, data []byte, tmp string) error {
	err := u.unless(path, func(i fs.FileInfo) bool { return i.Mode().IsRegular() }, "it is not a file")
	if err != nil {
		return err
	}
	return envdir.WriteWhole(path, Sealed(path, data), tmp)
}

// SoundLock sets aside a lock file that cannot be used.
func (u *Builder) SoundLock(path string, requirements []string) error {
	why := lockFault(path, requirements)
	if why == nil {
		return nil
	}
	_, err := SetAside(u.log, path, why)
	return err
}
