package project

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// pixiManifest is a pixi.toml, or tool.pixi of a pyproject.toml.
type pixiManifest struct {
	Workspace *pixiWorkspace `toml:"workspace"`
	Project   *pixiWorkspace `toml:"project"` // its name in earlier versions
	pixiFeature
	Features     map[string]pixiFeature `toml:"feature"`
	Environments map[string]any         `toml:"environments"`
}

type pixiWorkspace struct {
	Channels  []any          `toml:"channels"`
	Platforms []string       `toml:"platforms"`
	Options   map[string]any `toml:"pypi-options"`
}

type pixiFeature struct {
	Dependencies map[string]any         `toml:"dependencies"`
	Host         map[string]any         `toml:"host-dependencies"`
	Build        map[string]any         `toml:"build-dependencies"`
	PyPI         map[string]any         `toml:"pypi-dependencies"`
	Target       map[string]pixiFeature `toml:"target"`
	Channels     []any                  `toml:"channels"`
	Options      map[string]any         `toml:"pypi-options"`
}

// readPixi reads a pixi.lock with its manifest, or a manifest without a lock file.
func readPixi(p *Project, r *reader) error {
	if err := p.only(false, false); err != nil {
		return err
	}
	if p.Kind == PixiLock {
		var err error
		if p.Lock, err = r.file(p.File, maxLock); err != nil {
			return err
		}
	}
	m, path, err := pixiManifestIn(p.Path, r)
	if err != nil {
		return err
	}
	if m == nil {
		return nil // the lock file says it all
	}
	p.Manager = path
	w := m.Workspace
	if w == nil {
		w = m.Project
	}
	if w != nil {
		if err := p.addChannels(w.Channels, path); err != nil {
			return err
		}
		if err := p.addOptions(w.Options, path); err != nil {
			return err
		}
		if here := CondaSubdir(); len(w.Platforms) > 0 && !slices.Contains(w.Platforms, here) {
			return errorf("add it to platforms", "%s is not for %s, but for %s", path, here, join(w.Platforms))
		}
	}
	return p.addFeatures(m, path, r)
}

// pixiManifestIn reads the manifest of pixi in dir; nil if there is none.
func pixiManifestIn(dir string, r *reader) (*pixiManifest, string, error) {
	path := filepath.Join(dir, Pixi)
	data, err := r.maybe(path, maxManifest)
	if err != nil {
		return nil, path, err
	}
	if data != nil {
		var m pixiManifest
		return &m, path, readTOML(path, data, &m)
	}
	path = filepath.Join(dir, PyProject)
	if data, err = r.maybe(path, maxManifest); err != nil || data == nil {
		return nil, path, err
	}
	var py struct {
		Tool struct {
			Pixi *pixiManifest `toml:"pixi"`
		} `toml:"tool"`
	}
	return py.Tool.Pixi, path, readTOML(path, data, &py)
}

// addFeatures adds the dependencies of the default environment.
func (p *Project) addFeatures(m *pixiManifest, path string, r *reader) error {
	var features []pixiFeature
	env, _ := m.Environments["default"].(map[string]any)
	if without, _ := env["no-default-feature"].(bool); !without {
		features = append(features, m.pixiFeature)
	}
	for _, name := range defaultFeatures(m.Environments["default"]) {
		if name == "default" {
			continue
		}
		f, ok := m.Features[name]
		if !ok {
			return errorf("correct environments.default", "%s has no feature %q", path, name)
		}
		features = append(features, f)
	}
	systems := []string{"", strings.Split(CondaSubdir(), "-")[0], CondaSubdir()}
	if runtime.GOOS != "windows" {
		systems = append(systems, "unix")
	}
	for _, f := range features {
		if err := p.addChannels(f.Channels, path); err != nil {
			return err
		}
		if err := p.addOptions(f.Options, path); err != nil {
			return err
		}
		for _, system := range systems {
			part := f
			if system != "" {
				part = f.Target[system]
			}
			if err := p.addDependencies(part, path, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Project) addChannels(channels []any, path string) error {
	for _, c := range channels {
		name, ok := c.(string)
		if table, is := c.(map[string]any); is {
			name, ok = table["channel"].(string)
		}
		if !ok {
			return errorf("each is a text", "%s has a channel that is not one: %.100s", path, fmt.Sprint(c))
		}
		if !slices.Contains(p.Channels, name) {
			p.Channels = append(p.Channels, name)
			p.addIndex(name)
		}
	}
	return nil
}

// addOptions adds what says where packages of PyPI come from. A lock file has their addresses already.
func (p *Project) addOptions(options map[string]any, path string) error {
	if p.Kind == PixiLock {
		return nil
	}
	for _, name := range keys(options) {
		var list []any
		option := map[string]string{"index-url": "--index-url", "extra-index-urls": "--extra-index-url",
			"find-links": "--find-links"}[name]
		switch v := options[name].(type) {
		case string:
			list = []any{v}
		case []any:
			list = v
		}
		if option == "" {
			return errorf("make a lock file: pixi lock", "%s has %s among its pypi-options, which is not known here",
				path, name)
		}
		for _, v := range list {
			if table, ok := v.(map[string]any); ok { // {path = …} or {url = …}
				v = cmp.Or(table["path"], table["url"])
			}
			if text, ok := v.(string); ok {
				p.Pip = append(p.Pip, option+" "+text)
				p.addIndex(text)
			}
		}
	}
	return nil
}

func (p *Project) addDependencies(f pixiFeature, path string, r *reader) error {
	for _, list := range []map[string]any{f.Dependencies, f.Host, f.Build} {
		for _, name := range keys(list) {
			spec, err := pixiSpec(name, list[name])
			if err != nil {
				return errorf("write it as a version", "%s: %s", path, err)
			}
			p.Specs = append(p.Specs, spec)
		}
	}
	for _, name := range keys(f.PyPI) {
		line, local, err := pixiPyPI(name, f.PyPI[name])
		if err != nil {
			return errorf("write it as a version", "%s: %s", path, err)
		}
		if local != "" {
			if err := r.source(below(p.Path, local)); err != nil {
				return err
			}
		}
		p.Pip = append(p.Pip, line)
	}
	return nil
}

// defaultFeatures are the features of an environment: a list, or a table with one.
func defaultFeatures(env any) (list []string) {
	if table, ok := env.(map[string]any); ok {
		env = table["features"]
	}
	all, _ := env.([]any)
	for _, f := range all {
		if name, ok := f.(string); ok {
			list = append(list, name)
		}
	}
	return list
}

// pixiSpec is a dependency of pixi as a match spec.
func pixiSpec(name string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return matchSpec(name, v, "", ""), nil
	case map[string]any:
		if v["path"] == nil && v["git"] == nil && v["url"] == nil {
			text := func(key string) string { s, _ := v[key].(string); return s }
			return matchSpec(name, text("version"), text("build"), text("channel")), nil
		}
	}
	return "", fmt.Errorf("the dependency %s is of a kind that is not known here", name)
}

func matchSpec(name, version, build, channel string) string {
	var in []string
	if v := strings.TrimSpace(version); v != "" && v != "*" {
		in = append(in, "version='"+v+"'")
	}
	if build != "" {
		in = append(in, "build='"+build+"'")
	}
	if channel != "" {
		name = channel + "::" + name
	}
	if len(in) == 0 {
		return name
	}
	return name + "[" + strings.Join(in, ", ") + "]"
}

var pypiKeys = []string{"version", "extras", "path", "editable", "git", "rev", "tag", "branch", "subdirectory", "url"}

// pixiPyPI is a PyPI dependency of pixi as a line of a requirements file, and the folder that it names, if any.
func pixiPyPI(name string, v any) (line, local string, err error) {
	table, ok := v.(map[string]any)
	if version, is := v.(string); is {
		table, ok = map[string]any{"version": version}, true
	}
	if !ok {
		return "", "", fmt.Errorf("the dependency %s is of a kind that is not known here", name)
	}
	for key := range table {
		if !slices.Contains(pypiKeys, key) {
			return "", "", fmt.Errorf("the dependency %s has %s, which is not known here; make a lock file: pixi lock",
				name, key)
		}
	}
	text := func(key string) string { s, _ := table[key].(string); return s }
	if list, is := table["extras"].([]any); is && len(list) > 0 {
		var extras []string
		for _, e := range list {
			extras = append(extras, fmt.Sprint(e))
		}
		name += "[" + strings.Join(extras, ",") + "]"
	}
	path := text("path")
	if path != "" && !filepath.IsAbs(path) && !strings.HasPrefix(path, ".") {
		path = "./" + path // else it would be the name of a package
	}
	switch editable, _ := table["editable"].(bool); {
	case path != "" && editable:
		return "-e " + path, path, nil
	case path != "":
		return path, path, nil
	case text("git") != "":
		url := "git+" + text("git")
		for _, ref := range []string{"rev", "tag", "branch"} {
			if text(ref) != "" {
				url += "@" + text(ref)
				break
			}
		}
		if sub := text("subdirectory"); sub != "" {
			url += "#subdirectory=" + sub
		}
		return name + " @ " + url, "", nil
	case text("url") != "":
		return name + " @ " + text("url"), "", nil
	}
	if version := strings.TrimSpace(text("version")); version != "*" {
		name += version
	}
	return name, "", nil
}
