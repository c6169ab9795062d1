package project

import (
	"bytes"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"runtimed/internal/lazyregexp"
)

// manifest is the part of a pyproject.toml that counts here.
type manifest struct {
	Project *struct {
		Name                 string              `toml:"name"`
		RequiresPython       string              `toml:"requires-python"`
		OptionalDependencies map[string][]string `toml:"optional-dependencies"`
		Dynamic              []string            `toml:"dynamic"`
	} `toml:"project"`
	Groups      map[string]any `toml:"dependency-groups"`
	BuildSystem map[string]any `toml:"build-system"`
	Tool        struct {
		Pixi       map[string]any `toml:"pixi"`
		UV         uvSettings     `toml:"uv"`
		Setuptools struct {
			Dynamic dynamicTable `toml:"dynamic"`
		} `toml:"setuptools"`
	} `toml:"tool"`
}

// dynamicTable is tool.setuptools.dynamic: files, one or several, by what they say.
type dynamicTable map[string]any

// files are all that the table names.
func (d dynamicTable) files() (list []string) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			list = append(list, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for name, e := range v {
				if name != "attr" {
					walk(e)
				}
			}
		}
	}
	for _, name := range keys(d) {
		walk(d[name])
	}
	slices.Sort(list)
	return list
}

// uvSettings is tool.uv of a pyproject.toml, or a uv.toml.
type uvSettings struct {
	Package       *bool `toml:"package"`
	DefaultGroups any   `toml:"default-groups"`
	Workspace     *struct {
		Members []string `toml:"members"`
		Exclude []string `toml:"exclude"`
	} `toml:"workspace"`
	Sources map[string]any `toml:"sources"`
}

// isProject is false for a file with the settings of tools only.
func (m *manifest) isProject() bool { return m.Project != nil || m.Tool.UV.Workspace != nil }

func readManifest(path string, r *reader) (*manifest, error) {
	data, err := r.file(path, maxManifest)
	if err != nil {
		return nil, err
	}
	var m manifest
	return &m, readTOML(path, data, &m)
}

func readTOML(path string, data []byte, to any) error {
	// The parser's time grows with the square of the keys.
	if n := bytes.Count(data, []byte("=")) + bytes.Count(data, []byte("\n[")); n > maxKeys {
		return errorf("a manifest is written by people", "%s has more than %d keys and versions", path, maxKeys)
	}
	if err := toml.Unmarshal(data, to); err != nil {
		return errorf("correct it", "%s cannot be read: %s", path, strings.TrimPrefix(err.Error(), "toml: "))
	}
	return nil
}

// readUV reads a uv.lock and its manifests.
func readUV(p *Project, r *reader) error {
	lock, err := r.file(p.File, maxLock)
	if err != nil {
		return err
	}
	root := filepath.Dir(p.File)
	if err := readSettings(p, r, root); err != nil {
		return err
	}
	p.Manager, p.Count = filepath.Join(p.Path, PyProject), bytes.Count(lock, []byte("\n[[package]]"))
	for what, where := range valuesAfter(lock, "\nsource = { ") {
		switch what {
		case "registry":
			p.addIndex(where)
		case "editable", "directory", "virtual", "path":
			if err := r.source(below(root, where)); err != nil {
				return err
			}
		}
	}
	if p.RequiresPython == "" { // a workspace without a project of its own
		for name, python := range valuesAfter(lock[:min(len(lock), maxValue)], "\n") {
			if name == "requires-python" {
				p.RequiresPython = python
			}
		}
	}
	return nil
}

// valuesAfter are the names and texts of what follows a mark in a file that a tool wrote: name = "text". Lock files
// hold megabytes, so they are not parsed.
func valuesAfter(data []byte, mark string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for {
			_, rest, found := bytes.Cut(data, []byte(mark))
			if !found {
				return
			}
			data = rest
			line, _, _ := bytes.Cut(rest[:min(len(rest), maxValue)], []byte("\n"))
			name, text, ok := bytes.Cut(line, []byte(` = "`))
			text, _, ended := bytes.Cut(text, []byte(`"`))
			if ok && ended && !yield(string(name), string(text)) {
				return
			}
		}
	}
}

const (
	maxValue    = 4096 // bytes
	maxKeys     = 8000 // of a TOML file, counted roughly
	mostIndexes = 100  // that are shown
	mostLooked  = 20_000
	mostDeep    = 8 // folders, from the root of a workspace to a member
)

// readPyProject reads a pyproject.toml without a lock file.
func readPyProject(p *Project, r *reader) error {
	root, err := workspaceOf(p.Path)
	if err != nil {
		return err
	}
	if root == "" {
		root = p.Path
	}
	if err := readSettings(p, r, root); err != nil {
		return err
	}
	if err := readMembers(root, r); err != nil {
		return err
	}
	return r.source(p.Path)
}

// readMembers reads the manifests of a workspace, any of which may depend on another.
func readMembers(root string, r *reader) error {
	m, err := readManifest(filepath.Join(root, PyProject), r)
	if err != nil || m.Tool.UV.Workspace == nil {
		return err
	}
	w, looked := m.Tool.UV.Workspace, 0
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if looked++; looked > mostLooked {
			return errorf("make a lock file: uv lock", "the workspace at %s is too large to be looked through", root)
		}
		below, _ := filepath.Rel(root, path) // it is below
		switch {
		case err != nil && path != root, !d.IsDir():
			return nil
		case err != nil:
			return unreadable(root, err)
		case path == root:
			return nil
		case strings.HasPrefix(d.Name(), ".") || strings.Count(filepath.ToSlash(below), "/") >= mostDeep:
			return fs.SkipDir
		case matches(w.Members, below) && !matches(w.Exclude, below):
			return r.sources(path)
		}
		return nil
	})
}

// readDynamic reads the files from which a build back end may take the dependencies: for setuptools and hatch these
// are requirements files as a rule.
func (m *manifest) readDynamic(dir string, r *reader) error {
	if m.Project == nil || !slices.ContainsFunc(m.Project.Dynamic, func(d string) bool {
		return d == "dependencies" || d == "optional-dependencies"
	}) {
		return nil
	}
	files := m.Tool.Setuptools.Dynamic.files()
	for _, glob := range []string{"requirements*.txt", "requirements/*.txt", "requirements*.in"} {
		found, _ := filepath.Glob(filepath.Join(dir, glob)) // the patterns are right
		files = append(files, found...)
	}
	for _, file := range files {
		if _, err := r.maybe(below(dir, file), maxManifest); err != nil {
			return err
		}
	}
	return nil
}

// readSettings reads the pyproject.toml of p and what its workspace at root adds.
func readSettings(p *Project, r *reader, root string) error {
	path := filepath.Join(p.Path, PyProject)
	m, err := readManifest(path, r)
	if err != nil {
		return err
	}
	if m.Project != nil {
		p.RequiresPython = m.Project.RequiresPython
		if !slices.Contains(m.Project.Dynamic, "optional-dependencies") {
			err = known("extra", p.Extras, keys(m.Project.OptionalDependencies), path)
		}
	}
	if err == nil {
		err = known("group of dependencies", p.Groups, keys(m.Groups), path)
	}
	if err != nil {
		return err
	}
	p.Package = m.BuildSystem != nil && m.Project != nil
	if is := m.Tool.UV.Package; is != nil {
		p.Package = *is
	}
	p.DefaultGroups = m.defaultGroups()
	if err := readSources(p.Path, m.Tool.UV.Sources, r); err != nil {
		return err
	}
	if err := m.readDynamic(p.Path, r); err != nil {
		return err
	}
	if root != p.Path {
		m, err := readManifest(filepath.Join(root, PyProject), r)
		if err != nil {
			return err
		}
		if err := readSources(root, m.Tool.UV.Sources, r); err != nil {
			return err
		}
	}
	return readUVSettings(p, r, root)
}

// readSources reads the folders that tool.uv.sources leads to.
func readSources(dir string, sources map[string]any, r *reader) error {
	for _, name := range keys(sources) {
		list, ok := sources[name].([]any)
		if !ok {
			list = []any{sources[name]}
		}
		for _, s := range list {
			table, _ := s.(map[string]any)
			if path, _ := table["path"].(string); path != "" {
				if err := r.sources(below(dir, path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// defaultGroups are those that uv installs unasked.
func (m *manifest) defaultGroups() []string {
	switch d := m.Tool.UV.DefaultGroups.(type) {
	case string: // "all"
		return keys(m.Groups)
	case []any:
		var list []string
		for _, g := range d {
			if name, ok := g.(string); ok {
				list = append(list, name)
			}
		}
		return list
	}
	if _, ok := m.Groups["dev"]; ok {
		return []string{"dev"}
	}
	return nil
}

// readPyLock reads a pylock.toml (PEP 751).
func readPyLock(p *Project, r *reader) error {
	data, err := r.file(p.File, maxLock)
	if err != nil {
		return err
	}
	head, _, _ := bytes.Cut(data, []byte("\n[[packages]]"))
	if len(head) > maxManifest {
		return errorf("make it anew", "%s has no packages in its first %d KiB", p.File, maxManifest>>10)
	}
	var lock struct {
		Version        string   `toml:"lock-version"`
		RequiresPython string   `toml:"requires-python"`
		Extras         []string `toml:"extras"`
		Groups         []string `toml:"dependency-groups"`
	}
	if err := readTOML(p.File, head, &lock); err != nil {
		return err
	}
	if !strings.HasPrefix(lock.Version, "1.") {
		return errorf("make it anew, for example with: uv export --format pylock.toml",
			"%s is of the version %q, and only 1.0 is known", p.File, lock.Version)
	}
	p.RequiresPython, p.Count = lock.RequiresPython, bytes.Count(data, []byte("\n[[packages]]"))
	for _, mark := range []string{"{ ", "{", ", ", "\n"} {
		for name, where := range valuesAfter(data, mark) {
			if name == "path" {
				if err := r.source(below(p.Path, where)); err != nil {
					return err
				}
			}
		}
	}
	if err := known("extra", p.Extras, lock.Extras, p.File); err != nil {
		return err
	}
	if err := known("group of dependencies", p.Groups, lock.Groups, p.File); err != nil {
		return err
	}
	return readUVSettings(p, r, p.Path)
}

var pythonVersion = lazyregexp.New(`^(?:cpython|python)?[-@]?(\d+(?:\.\d+){0,2}|[<>=!~][<>=!~\d., *]*)(?:-[\w-]+)?$`)

// readPythonVersion reads the .python-version beside the project's file, or further up to that of its
// workspace.
func readPythonVersion(p *Project, r *reader) error {
	root := filepath.Dir(p.File)
	for dir := p.Path; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".python-version")
		data, err := r.maybe(path, maxManifest)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			m := pythonVersion().FindStringSubmatch(line)
			if m == nil {
				return errorf("write it as 3.12, for example", "%s names %.60q, which is not known here", path, line)
			}
			p.Python = m[1]
			return nil
		}
		if dir == root || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, filepath.FromSlash(path))
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
