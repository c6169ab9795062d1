package project

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/internal/safefile"
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
	info, err := os.Stat(path)
	if err != nil {
		return f, unreadable(path, err)
	}
	start, name := path, ""
	if !info.IsDir() { // perhaps a link, which means the folder that it is in
		start, name = filepath.Dir(path), filepath.Base(path)
	}
	if start, err = safefile.Resolve(start); err != nil {
		return f, unreadable(path, err)
	}
	if kind := kindOf(name); kind != "" {
		return inFolder(start, kind)
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
			m, err := readManifest(file, &reader{})
			if err != nil {
				return false, err
			}
			switch whose, err := m.whose(dir); {
			case err != nil:
				return false, err
			case whose == Pixi:
				f.skipped = append(f.skipped, file+": pixi manages it")
				if lock, err := fileOf(dir, PixiLock); err != nil || lock != "" {
					continue
				}
				f.dir, f.kind, f.file = dir, Pixi, file
				return true, nil
			case whose == "":
				f.skipped = append(f.skipped, file+": it holds settings of tools only")
				continue
			}
		}
		at, err := inFolder(dir, kind)
		f.dir, f.kind, f.file = at.dir, at.kind, at.file
		return true, err
	}
	return false, nil
}

// whose is the kind that makes environments of a pyproject.toml in dir: PyProject, Pixi, or none.
func (m *manifest) whose(dir string) (kind string, err error) {
	lock := ""
	if m.Tool.Pixi != nil {
		lock, err = fileOf(dir, PixiLock)
	}
	switch {
	case m.Tool.Pixi != nil && (lock != "" || !m.isProject()):
		return Pixi, err
	case m.isProject():
		return PyProject, err
	}
	return "", err
}

// inFolder is the project of a kind in dir. Members of a workspace have its lock file, whatever lies beside them.
func inFolder(dir, kind string) (f found, err error) {
	f = found{dir: dir, kind: kind}
	if f.file, err = fileOf(dir, kind); err != nil || kind != PyProject && kind != UVLock {
		return f, err
	}
	root, err := workspaceOf(dir)
	if err != nil {
		return f, err
	}
	lock, err := fileOf(cmp.Or(root, dir), UVLock)
	switch {
	case err != nil:
	case lock != "":
		f.kind, f.file = UVLock, lock
	default:
		f.kind = PyProject
		f.file, err = fileOf(dir, PyProject)
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
		if file != "" {
			m, err := readManifest(file, &reader{})
			if err != nil {
				return "", err
			}
			if w := m.Tool.UV.Workspace; w != nil {
				below, err := filepath.Rel(root, dir)
				switch {
				case err != nil || !matches(w.Members, below) || matches(w.Exclude, below):
					return "", nil
				case open(root): // uv would follow it
					return "", errorf("have that folder closed to others, or move the project",
						"%s is in a workspace at %s, where anyone may write", dir, root)
				}
				return root, nil
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

// matchParts compares part by part. fits[i] is whether glob[i:] matches the parts looked at, from their end: a glob may
// hold many "**", and trying each at every place would take for ever.
func matchParts(glob, parts []string) bool {
	fits := make([]bool, len(glob)+1)
	fits[len(glob)] = true
	for i := len(glob) - 1; i >= 0; i-- {
		fits[i] = glob[i] == "**" && fits[i+1]
	}
	for _, part := range slices.Backward(parts) {
		next := make([]bool, len(glob)+1)
		for i := len(glob) - 1; i >= 0; i-- {
			if glob[i] == "**" {
				next[i] = next[i+1] || fits[i]
			} else if ok, err := filepath.Match(glob[i], part); err == nil && ok {
				next[i] = fits[i+1]
			}
		}
		fits = next
	}
	return fits[0]
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
