package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// MountError means that a tree was not removed whole, because something is mounted inside it.
type MountError struct {
	Path string // the mount point
}

func (e *MountError) Error() string {
	return e.Path + " is a mount point, so it is left alone until it is unmounted"
}

// unmountsByRemoving: elsewhere a mount point cannot be removed.
const unmountsByRemoving = runtime.GOOS == "windows"

// maxDepth bounds the folders that are open at once.
const maxDepth = 100

// RemoveTree deletes name, a slash-separated path, below the folder dir. It follows no link, neither at the end of
// dir nor below it. It stays on the file system and the mount of name: it deletes what it can, and then returns a
// *MountError. It works from open folders, so what is swapped or mounted meanwhile is safe. It makes folders
// writable. It calls pause, if not nil, every few dozen files; an error of pause ends the removal. An absent name is
// no error.
func RemoveTree(dir, name string, pause func() error) error {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(name)), "/")
	top, err := openRoot(dir)
	for _, part := range parts[:len(parts)-1] {
		if err == nil {
			above := top
			top, err = above.open(part)
			above.close()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.close()
	last := parts[len(parts)-1]
	if !filepath.IsLocal(last) || last == "." {
		return fmt.Errorf("%q is not a name in a folder", name)
	}
	r := remover{top: top, name: last, pause: pause}
	return r.Remove(top, last, 0)
}

// folder is an open folder.
type folder struct {
	root   *os.Root
	path   string
	volume volume
}

func (f folder) close() { _ = f.root.Close() } // nothing was written through it

// openRoot opens a folder by its path, unless a link is there.
func openRoot(path string) (folder, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return folder{}, err
	}
	if !before.IsDir() {
		return folder{}, notFolder(path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return folder{}, err
	}
	return opened(root, path, before)
}

// opened returns the folder of root, if it is the one seen before.
func opened(root *os.Root, path string, before fs.FileInfo) (folder, error) {
	f := folder{root: root, path: path}
	dir, err := root.Open(".")
	if err == nil {
		var now fs.FileInfo
		now, err = dir.Stat()
		if err == nil && !os.SameFile(before, now) {
			err = notFolder(path) // a link has just taken its place
		}
		if err == nil {
			f.volume, err = volumeOf(dir)
		}
		_ = dir.Close()
	}
	if err != nil {
		f.close()
	}
	return f, err
}

func notFolder(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
}

// open opens the folder name in f, and makes it readable and writable for us. The error is a *MountError if it is on
// another volume.
func (f folder) open(name string) (folder, error) {
	path := filepath.Join(f.path, name)
	before, err := f.root.Lstat(name)
	if err != nil {
		return folder{}, err
	}
	if !before.IsDir() {
		return folder{}, notFolder(path)
	}
	if f.mounted(name) {
		return folder{}, &MountError{path}
	}
	if closed := before.Mode().Perm()&0o700 != 0o700; closed && runtime.GOOS != "windows" {
		_ = f.root.Chmod(name, before.Mode().Perm()|0o700) // a failure shows below
	}
	root, err := f.root.OpenRoot(name)
	if err != nil {
		return folder{}, inFull(err, path)
	}
	sub, err := opened(root, path, before)
	if err == nil && sub.volume != f.volume {
		sub.close()
		err = &MountError{path}
	}
	return sub, err
}

// mounted reports whether something is mounted at name in f.
func (f folder) mounted(name string) bool {
	dir, err := f.root.Open(".")
	if err != nil {
		return false // its use will show the error
	}
	defer dir.Close()
	return mountedAt(dir, name, f.volume)
}

// inFull is err with the whole path.
func inFull(err error, path string) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: p.Op, Path: path, Err: p.Err}
	}
	return err
}

type remover struct {
	top   folder // with the tree in it
	name  string // of the tree
	pause func() error
	n     int   // files so far
	ended error // by pause
}

// Remove deletes name in a folder at this depth. It goes on after an error.
func (r *remover) Remove(in folder, name string, depth int) error {
	if r.n++; r.n%64 == 0 && r.pause != nil {
		r.ended = r.pause()
	}
	if r.ended != nil {
		return r.ended
	}
	path := filepath.Join(in.path, name)
	name, err := plainName(in.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return inFull(err, path)
	}
	path = filepath.Join(in.path, name)
	if unmountsByRemoving && in.mounted(name) {
		return &MountError{path}
	}
	err = removeIn(in.root, name) // a file, a link, or an empty folder
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, lerr := in.root.Lstat(name); lerr != nil || !info.IsDir() {
		if in.mounted(name) {
			return &MountError{path}
		}
		return inFull(err, path)
	}
	if depth == maxDepth {
		if in, name, err = r.raise(path); err != nil {
			return err
		}
		depth, path = 0, filepath.Join(in.path, name)
	}
	sub, err := in.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else deleted it
	}
	if err != nil {
		return err
	}
	stays := r.empty(sub, depth)
	sub.close()
	if stays != nil {
		return stays
	}
	if err := removeIn(in.root, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if in.mounted(name) { // just now, over what was emptied
			return &MountError{path}
		}
		return inFull(err, path)
	}
	return nil
}

// empty deletes what is in a folder, and returns why something stays.
func (r *remover) empty(f folder, depth int) (stays error) {
	dir, err := f.root.Open(".")
	if err != nil {
		return inFull(err, f.path)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inFull(err, f.path)
	}
	if i, last := slices.Index(names, markName), len(names)-1; i >= 0 {
		// The mark goes last: after a kill the rest is still known to be ours.
		names[i], names[last] = names[last], names[i]
	}
	for _, name := range names {
		if name == markName && stays != nil {
			break
		}
		err := r.Remove(f, name, depth+1)
		if err != nil && !errors.As(stays, new(*MountError)) { // a mount is the best answer
			stays = err // and goes on
		}
		if r.ended != nil {
			return r.ended
		}
	}
	return stays
}

// raise moves a folder at maxDepth up beside the tree.
func (r *remover) raise(path string) (in folder, name string, err error) {
	below, err := filepath.Rel(r.top.path, path)
	for n := 1; err == nil && n < 1<<16; n++ {
		name = fmt.Sprintf("%s.%d", r.name, n)
		if _, lerr := r.top.root.Lstat(name); errors.Is(lerr, fs.ErrNotExist) {
			return r.top, name, r.top.root.Rename(below, name)
		}
	}
	return r.top, name, errors.Join(err, errors.New("no name is free in "+r.top.path))
}

// IsMount reports whether something is mounted at path.
func IsMount(path string) bool {
	if mounted, known := mountedPath(path); known {
		return mounted
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return false
	}
	defer dir.Close()
	v, err := volumeOf(dir)
	return err == nil && mountedAt(dir, filepath.Base(path), v)
}
