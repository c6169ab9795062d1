package uv

import (
	"bytes"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.uber.org/zap"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

// A user's uv.toml decides where packages come from, and which versions. It does not decide where and how our builds
// install them: these settings would put packages elsewhere, or leave some out.
var (
	uvOwn = []string{
		"required-version", "offline", "no-cache", "cache-dir", "link-mode", "compile-bytecode", "upgrade",
		"upgrade-package", "reinstall", "reinstall-package", "environments", "required-environments",
		"minimum-libc-version", "conflicts",
	}
	uvPipOwn = []string{
		"python", "system", "break-system-packages", "target", "prefix", "strict", "extra", "all-extras", "no-extra",
		"no-deps", "group", "allow-empty-requirements", "output-file", "no-strip-extras", "no-strip-markers",
		"no-annotate", "no-header", "custom-compile-command", "generate-hashes", "python-version", "python-platform",
		"universal", "no-emit-package", "emit-index-url", "emit-find-links", "emit-build-options",
		"emit-marker-expression", "emit-index-annotation", "annotation-style", "link-mode", "compile-bytecode",
		"require-hashes", "verify-hashes", "upgrade", "upgrade-package", "reinstall", "reinstall-package",
	}
)

const maxUVConfig = 1 << 20 // bytes

// configFile returns the user's uv.toml, or our copy of it without such settings; empty if there is none.
func (u *Builder) configFile() string {
	for _, path := range userConfigs(u.Environ) {
		if !filepath.IsAbs(path) || !envdir.Exists(path) {
			continue
		}
		text, changed := withoutOwn(path)
		if !changed {
			return path // if it cannot be read, uv says why
		}
		kept := filepath.Join(u.Tools(), "uv.toml")
		if old, err := envdir.ReadOwn(kept, maxUVConfig); err == nil && bytes.Equal(old, text) {
			return kept
		}
		err := u.Folder(u.Tools())
		if err == nil {
			err = envdir.WriteWhole(kept, text, u.Tools())
		}
		if err != nil {
			u.log.Warn("the settings of uv.toml that are for builds cannot be written down; it counts as a whole",
				zap.Error(err))
			return path
		}
		return kept
	}
	return ""
}

// withoutOwn returns the uv.toml at path without the settings that are ours, and whether it had any.
func withoutOwn(path string) (text []byte, changed bool) {
	data, err := safefile.Read(path, maxUVConfig)
	if err != nil {
		return nil, false
	}
	var all map[string]any
	if toml.Unmarshal(data, &all) != nil {
		return nil, false
	}
	drop := func(table map[string]any, names []string) {
		for _, name := range names {
			if _, ok := table[name]; ok {
				changed = true
				delete(table, name)
			}
		}
	}
	drop(all, uvOwn)
	tables := []map[string]any{all}
	if pip, ok := all["pip"].(map[string]any); ok {
		drop(pip, uvPipOwn)
		tables = append(tables, pip)
	}
	for _, table := range tables { // the copy is in another folder
		if links, ok := table["find-links"].([]any); ok {
			for i, link := range links {
				if s, ok := link.(string); ok && !strings.Contains(s, "://") && !filepath.IsAbs(s) {
					links[i] = filepath.Join(filepath.Dir(path), s)
				}
			}
		}
	}
	text, err = toml.Marshal(all)
	return append([]byte(statedir.UVConfigHead), text...), changed && err == nil
}
