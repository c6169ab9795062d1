package project

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readEnvironment reads an environment.yml, as conda documents it.
func readEnvironment(p *Project, r *reader) error {
	if err := p.only(false, false); err != nil {
		return err
	}
	data, err := r.file(p.File, maxManifest)
	if err != nil {
		return err
	}
	var env struct {
		Channels     []string       `yaml:"channels"`
		Dependencies []any          `yaml:"dependencies"`
		Variables    map[string]any `yaml:"variables"`
	}
	if err := yaml.Unmarshal(data, &env); err != nil {
		return errorf("correct it", "%s cannot be read: %s", p.File, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p.Channels = slices.DeleteFunc(env.Channels, func(c string) bool { return c == "nodefaults" })
	p.Indexes = p.Channels
	for _, d := range env.Dependencies {
		switch d := d.(type) {
		case string:
			p.Specs = append(p.Specs, strings.TrimSpace(d))
			continue
		case map[string]any:
			if pip, ok := d["pip"].([]any); ok && len(d) == 1 {
				for _, line := range pip {
					p.Pip = append(p.Pip, fmt.Sprint(line))
				}
				continue
			}
		}
		return errorf(`each is a text like "numpy>=2", or "pip:" with a list`,
			"%s has a dependency that is not one: %v", p.File, d)
	}
	for name, v := range env.Variables {
		if p.Variables == nil {
			p.Variables = map[string]string{}
		}
		p.Variables[name] = fmt.Sprint(v)
	}
	return readLines(p, r, p.File, []byte(strings.Join(p.Pip, "\n")))
}

// CondaSubdir is this machine's part of a channel.
func CondaSubdir() string {
	system := map[string]string{"linux": "linux", "darwin": "osx", "windows": "win"}[runtime.GOOS]
	machine := map[string]string{"amd64": "64", "386": "32", "arm64": "aarch64"}[runtime.GOARCH]
	switch {
	case machine == "":
		machine = runtime.GOARCH // ppc64le, s390x
	case machine == "aarch64" && system != "linux":
		machine = "arm64"
	}
	return fmt.Sprintf("%s-%s", system, machine)
}

// pixiManifest is a pixi.toml, or tool.pixi of a pyproject.toml.
type pixiManifest struct {
	Workspace *pixiWorkspace `toml:"workspace"`
	Project   *pixiWorkspace `toml:"project"` // its name in earlier versions
	pixiFeature
	Features     map[string]pixiFeature `toml:"feature"`
	Environments map[string]any         `toml:"environments"`
}

type pixiWorkspace struct {
	Channels  []any    `toml:"channels"`
	Platforms []string `toml:"platforms"`
}

type pixiFeature struct {
	Dependencies map[string]any         `toml:"dependencies"`
	PyPI         map[string]any         `toml:"pypi-dependencies"`
	Target       map[string]pixiFeature `toml:"target"`
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
		for _, c := range w.Channels {
			name, ok := c.(string)
			if table, is := c.(map[string]any); is {
				name, ok = table["channel"].(string)
			}
			if !ok {
				return errorf("each is a text", "%s has a channel that is not one: %v", path, c)
			}
			p.Channels = append(p.Channels, name)
		}
		p.Indexes = p.Channels
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
	features := []pixiFeature{m.pixiFeature}
	for _, name := range defaultFeatures(m.Environments["default"]) {
		f, ok := m.Features[name]
		if !ok && name != "default" {
			return errorf("correct environments.default", "%s has no feature %q", path, name)
		}
		features = append(features, f)
	}
	for _, f := range features {
		for _, system := range []string{"", "unix", strings.Split(CondaSubdir(), "-")[0], CondaSubdir()} {
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

func (p *Project) addDependencies(f pixiFeature, path string, r *reader) error {
	for _, name := range keys(f.Dependencies) {
		spec, err := pixiSpec(name, f.Dependencies[name])
		if err != nil {
			return errorf("write it as a version", "%s: %s", path, err)
		}
		p.Specs = append(p.Specs, spec)
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

// pixiPyPI is a PyPI dependency of pixi as a line of a requirements file, and the folder that it names, if any.
func pixiPyPI(name string, v any) (line, local string, err error) {
	table, ok := v.(map[string]any)
	if version, is := v.(string); is {
		table, ok = map[string]any{"version": version}, true
	}
	if !ok {
		return "", "", fmt.Errorf("the dependency %s is of a kind that is not known here", name)
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
		return name + " @ " + url, "", nil
	case text("url") != "":
		return name + " @ " + text("url"), "", nil
	}
	if version := strings.TrimSpace(text("version")); version != "*" {
		name += version
	}
	return name, "", nil
}
