package uv

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"runtimed/internal/project"
	"runtimed/internal/safefile"
)

// A project's settings for uv (uv.toml, or tool.uv of a pyproject.toml) decide where its packages come from, which
// versions and how they are built. uv pip gets only these: with "target", for example, it would remove what is in a
// folder of the user's.
var (
	ofProjects = []string{
		"index", "index-url", "extra-index-url", "find-links", "no-index", "index-strategy", "keyring-provider",
		"allow-insecure-host", "exclude-newer", "exclude-newer-package", "resolution", "prerelease", "fork-strategy",
		"no-build", "no-build-package", "no-binary", "no-binary-package", "no-build-isolation",
		"no-build-isolation-package", "config-settings", "config-settings-package", "dependency-metadata",
		"constraint-dependencies", "override-dependencies", "build-constraint-dependencies", "extra-build-dependencies",
		"extra-build-variables", "no-sources", "no-sources-package", "native-tls", "system-certs", "pip",
	}
	ofProjectsPip = []string{
		"index-url", "extra-index-url", "find-links", "no-index", "index-strategy", "keyring-provider",
		"exclude-newer", "exclude-newer-package", "resolution", "prerelease", "fork-strategy", "no-build", "no-binary",
		"only-binary", "no-build-isolation", "no-build-isolation-package", "config-settings",
		"config-settings-package", "dependency-metadata", "no-sources", "no-sources-package", "torch-backend",
	}
)

// projectSettings is a uv.toml with the settings of the project and, behind them, those of the user; empty if the
// project has none.
func (u *Builder) projectSettings(p *project.Project) []byte {
	if len(p.UV) == 0 {
		return nil
	}
	own := p.UV // this build's own
	keep(own, ofProjects, filepath.Dir(p.Settings))
	if pip, ok := own["pip"].(map[string]any); ok {
		keep(pip, ofProjectsPip, filepath.Dir(p.Settings))
	}
	if path := u.configFile(); path != "" {
		var users map[string]any
		if data, err := safefile.Read(path, maxUVConfig); err == nil && toml.Unmarshal(data, &users) == nil {
			mergeSettings(own, users)
		}
	}
	text, _ := toml.Marshal(own) // it was TOML
	return text
}

// keep drops other settings, and has paths start at dir: the copy is in another folder.
func keep(table map[string]any, names []string, dir string) {
	absolute := func(v any) any {
		s, ok := v.(string)
		if !ok || s == "" || strings.Contains(s, "://") || filepath.IsAbs(s) || strings.HasPrefix(s, "$") {
			return v
		}
		return filepath.Join(dir, s)
	}
	for name, v := range table {
		list, _ := v.([]any)
		switch name {
		case "find-links", "extra-index-url":
			for i := range list {
				list[i] = absolute(list[i])
			}
		case "index-url":
			table[name] = absolute(v)
		case "index":
			for _, item := range list {
				if index, ok := item.(map[string]any); ok {
					index["url"] = absolute(index["url"])
				}
			}
		}
		if !slices.Contains(names, name) {
			delete(table, name)
		}
	}
}

// mergeSettings adds what the user's settings have to the project's, by uv's rule: lists are joined, and of single
// values the project's counts.
func mergeSettings(own, users map[string]any) {
	for name, theirs := range users {
		switch mine := own[name].(type) {
		case nil:
			own[name] = theirs
		case []any:
			if more, ok := theirs.([]any); ok {
				own[name] = append(mine, more...)
			}
		case map[string]any:
			if more, ok := theirs.(map[string]any); ok {
				mergeSettings(mine, more)
			}
		}
	}
}
