package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// found is where a project was found.
type found struct {
	dir, kind, file string
	skipped         []string
}

// other names of a kind's file.
var alias = map[string]string{"environment.yaml": Environment}

// find looks for a project at path and above.
func find(path string) (f found, err error) {
	if !filepath.IsAbs(path) {
		return f, errorf("name an absolute path", "the path of a project is relative: %s", path)
	}
	start, err := filepath.EvalSymlinks(path)
	if err != nil {
		return f, unreadable(path, err)
	}
	info, err := os.Stat(start)
	if err != nil {
		return f, unreadable(path, err)
	}
	if !info.IsDir() {
		if kind := kindOf(filepath.Base(start)); kind != "" {
			return inFolder(filepath.Dir(start), kind)
		}
		start = filepath.Dir(start)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if dir != start && open(dir) {
			f.skipped = append(f.skipped, dir+": anyone may write there")
		} else if ok, err := f.look(dir); ok || err != nil {
			return f, err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	e := errorf("a project has one of: "+join(Kinds), "there is no project at %s or above", start)
	e.None = true
	return f, e
}

// look looks for a project in dir.
func (f *found) look(dir string) (ok bool, err error) {
	for _, kind := range Kinds {
		file, err := fileOf(dir, kind)
		if err != nil {
			return false, err
		}
		if file == "" {
			continue
		}
		if kind == PyProject {
			counts, err := f.counts(dir, file)
			if err != nil {
				return false, err
			}
			if !counts {
				continue
			}
		}
		at, err := inFolder(dir, kind)
		f.dir, f.kind, f.file = at.dir, at.kind, at.file
		return true, err
	}
	return false, nil
}

// counts reports whether the pyproject.toml of a folder is that of a project for uv.
func (f *found) counts(dir, file string) (bool, error) {
	m, err := readManifest(file, &reader{})
	if err != nil {
		return false, err
	}
	switch {
	case m.isProject() && m.Tool.Pixi == nil:
		return true, nil
	case m.Tool.Pixi != nil:
		if lock, err := fileOf(dir, PixiLock); err != nil || lock != "" {
			f.skipped = append(f.skipped, file+": pixi manages it")
			return false, err
		}
		return m.isProject(), nil
	}
	f.skipped = append(f.skipped, file+": it holds settings of tools only")
	return false, nil
}

// inFolder is the project of a kind in dir. The lock file of a workspace is that of its members.
func inFolder(dir, kind string) (f found, err error) {
	f = found{dir: dir, kind: kind}
	if f.file, err = fileOf(dir, kind); err != nil || kind != PyProject {
		return f, err
	}
	if lock, err := fileOf(dir, UVLock); err != nil || lock != "" {
		f.kind, f.file = UVLock, lock
		return f, err
	}
	root, err := workspaceOf(dir)
	if err != nil || root == "" {
		return f, err
	}
	lock, err := fileOf(root, UVLock)
	if err == nil && lock != "" {
		f.kind, f.file = UVLock, lock
	}
	return f, err
}

func kindOf(name string) string {
	if kind := alias[name]; kind != "" {
		return kind
	}
	if slices.Contains(Kinds, name) {
		return name
	}
	return ""
}

// fileOf is the path of a kind's file in dir; "" if there is none.
func fileOf(dir, kind string) (string, error) {
	list := []string{kind}
	for name, of := range alias {
		if of == kind {
			list = append(list, name)
		}
	}
	for _, name := range list {
		path := filepath.Join(dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case errors.Is(err, fs.ErrNotExist):
			if _, err := os.Lstat(path); err == nil {
				return "", errorf("correct the link, or remove it", "%s is a link that leads nowhere", path)
			}
		case errors.Is(err, fs.ErrPermission): // the folder itself may be closed to us
			return "", nil
		default:
			return "", unreadable(path, err)
		}
	}
	return "", nil
}

// open reports whether anyone may put a file into dir, as in /tmp.
func open(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0
}

// workspaceOf is the folder of the workspace of uv that dir is a member of; "" if there is none.
func workspaceOf(dir string) (string, error) {
	for root := filepath.Dir(dir); ; root = filepath.Dir(root) {
		file, err := fileOf(root, PyProject)
		if err != nil {
			return "", err
		}
		if file != "" && !open(root) {
			m, err := readManifest(file, &reader{})
			if err != nil {
				return "", err
			}
			if w := m.Tool.UV.Workspace; w != nil {
				below, err := filepath.Rel(root, dir)
				if err == nil && matches(w.Members, below) && !matches(w.Exclude, below) {
					return root, nil
				}
				return "", nil
			}
		}
		if root == filepath.Dir(root) {
			return "", nil
		}
	}
}

// matches reports whether a path matches one of the globs. "**" stands for any folders.
func matches(globs []string, path string) bool {
	parts := strings.Split(filepath.ToSlash(path), "/")
	return slices.ContainsFunc(globs, func(g string) bool {
		return matchParts(strings.Split(strings.Trim(strings.TrimPrefix(g, "./"), "/"), "/"), parts)
	})
}

func matchParts(glob, parts []string) bool {
	switch {
	case len(glob) == 0:
		return len(parts) == 0
	case glob[0] == "**":
		return matchParts(glob[1:], parts) || len(parts) > 0 && matchParts(glob, parts[1:])
	case len(parts) == 0:
		return false
	}
	ok, err := filepath.Match(glob[0], parts[0])
	return err == nil && ok && matchParts(glob[1:], parts[1:])
}

func unreadable(path string, err error) *Error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	hint := "see that it can be read"
	if errors.Is(err, fs.ErrNotExist) {
		return errorf("name a folder that is there", "%s does not exist", path)
	}
	return &Error{Message: fmt.Sprintf("%s cannot be read: %v", path, err), Hint: hint}
}

func join(list []string) string { return strings.Join(list, ", ") }
