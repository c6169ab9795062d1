package uv

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
)

// A store is a folder that its owner fills and others read. It has wheels, which builds look for by the hashes of their
// lock file before they ask an index, and in the folder locks the lock files of pools, which a first build takes over
// in place of resolving. Whoever may write a lock file decides what others run, so a store that others than its owner
// may write to does not count.

// CheckStore says why the store at dir cannot be used.
func CheckStore(dir string) error {
	for _, path := range []string{dir, statedir.RealPath(dir)} {
		if err := exchangeable(path); statedir.SocketIsFile && err != nil {
			return err
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, storeLocks)} {
		f, err := safefile.OpenFolder(path)
		if path != dir && errors.Is(err, fs.ErrNotExist) {
			return nil // it has only wheels
		}
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil && statedir.SocketIsFile && info.Mode().Perm()&0o022 != 0 {
			err = fmt.Errorf("others than its owner may write to %s (mode %04o)", path, info.Mode().Perm())
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

const storeLocks = "locks"

// exchangeable returns an error where others can put another folder in the place of dir, or make it while it is not
// there: they may write to a folder above it. In one like /tmp they cannot touch what root or this user has there.
func exchangeable(dir string) error {
	for up := filepath.Dir(dir); up != dir; dir, up = up, filepath.Dir(up) {
		above, err := os.Stat(up)
		if err != nil || above.Mode().Perm()&0o022 == 0 {
			continue
		}
		info, err := os.Lstat(dir)
		uid := -1
		if err == nil {
			uid, _ = statedir.OwnerUID(info)
		}
		if above.Mode()&fs.ModeSticky == 0 || uid != 0 && uid != os.Geteuid() {
			return fmt.Errorf("others than its owner may make a folder in %s (mode %04o)", up, above.Mode().Perm())
		}
	}
	return nil
}

// store is the configured store; empty if there is none that can be used.
func (u *Builder) store() string {
	dir, said := u.Config().Store, ""
	if dir == "" {
		return ""
	}
	err := CheckStore(dir)
	if err != nil {
		dir, said = "", err.Error()
	}
	u.mu.Lock()
	told := u.storeSaid
	u.storeSaid = said
	u.mu.Unlock()
	if said != "" && said != told {
		u.log.Warn("the store of packages is not used", zap.String("store", u.Config().Store), zap.Error(err))
	}
	return dir
}

// storeURL is the store as uv and pip take it in a list, whose items end at commas and blanks.
func storeURL(dir string) string {
	path := filepath.ToSlash(dir)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return strings.ReplaceAll((&url.URL{Scheme: "file", Path: path}).String(), ",", "%2C")
}

// onlyStore are the variables with which pip asks nothing else.
func onlyStore(dir string) []string {
	return []string{pipVariable("no-index") + "=1", pipVariable("find-links") + "=" + storeURL(dir)}
}

// fromStore are the variables with which uv finds the wheels of the store; none if there is no store.
func (u *Builder) fromStore() []string {
	dir := u.store()
	if dir == "" {
		return nil
	}
	const name = "UV_FIND_LINKS"
	links := storeURL(dir)
	if own := tool.Lookup(u.Environ, name); own != "" {
		links = own + "," + links
	}
	return []string{name + "=" + links}
}

// takeLock takes over the lock file that the store has for the pool, if that is newer than the one that is here and, in
// place of one that is here, younger than age. One that cannot be used is passed over.
func (b *build) takeLock(age time.Duration) bool {
	if b.spec.Base != nil || b.project != nil || b.again || b.anew {
		return false
	}
	dir := b.store()
	if dir == "" {
		return false
	}
	path := filepath.Join(dir, storeLocks, filepath.Base(b.path))
	info, err := os.Lstat(path)
	if err != nil || Filled(b.path) && (!before(b.path, path) || Older(path, age)) {
		return false
	}
	err = b.takeOver(path, info)
	if err != nil {
		b.log.Warn("a lock file of the store cannot be used", zap.String("lock", path), zap.Error(err))
	}
	return err == nil
}

func (b *build) takeOver(path string, info fs.FileInfo) error {
	data, err := safefile.ReadOwn(path, envdir.MaxInside)
	if err != nil {
		return err
	}
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != seal+proof(path, body) {
		return errors.New("it is not as it was written")
	}
	if statedir.SocketIsFile && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others than its owner may write to it (mode %04o)", info.Mode().Perm())
	}
	tmp, remove, err := b.Scratch(filepath.Dir(b.path), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	if err := b.WriteLock(b.path, body, tmp); err != nil {
		return err
	}
	b.log.Info("the lock file of the store is taken over", zap.String("lock", path))
	return os.Chtimes(b.path, info.ModTime(), info.ModTime()) // its age counts
}

// storedUV installs the pinned uv from the store; false if it is not there.
func (u *Builder) storedUV(env []string, install func([]string) (tool.Result, error)) bool {
	dir := u.store()
	if dir == "" {
		return false
	}
	found, _ := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "uv-"+Version()+"-*.whl"))
	if len(found) == 0 {
		return false
	}
	_, err := install(slices.Concat(env, onlyStore(dir)))
	if err != nil {
		u.log.Info("uv is not installed from the store", zap.Error(err))
	}
	return err == nil
}
