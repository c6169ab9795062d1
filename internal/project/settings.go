package project

import (
	"path/filepath"
	"slices"
	"strings"
)

// readUVSettings reads the settings for uv that count in dir: those of the nearest uv.toml, or of the nearest
// pyproject.toml with a table tool.uv, as uv's documentation of configuration files says. Folders further up where
// anyone may write are passed over.
func readUVSettings(p *Project, r *reader, dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		if at == dir || !open(at) {
			found, err := p.readSettingsIn(r, at)
			if found || err != nil {
				return err
			}
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// readSettingsIn reads the settings in a folder, if there are any.
func (p *Project) readSettingsIn(r *reader, dir string) (found bool, err error) {
	path := filepath.Join(dir, "uv.toml")
	data, err := r.maybe(path, maxManifest)
	if err != nil {
		return false, err
	}
	if data != nil {
		p.Settings = path
		err = readTOML(path, data, &p.UV)
	} else {
		path = filepath.Join(dir, PyProject)
		if data, err = r.maybe(path, maxManifest); err != nil || data == nil {
			return false, err
		}
		var file struct {
			Tool struct {
				UV map[string]any `toml:"uv"`
			} `toml:"tool"`
		}
		if err = readTOML(path, data, &file); err != nil || file.Tool.UV == nil {
			return false, err
		}
		p.Settings, p.UV = path, file.Tool.UV
	}
	p.addIndexes(p.UV)
	if pip, ok := p.UV["pip"].(map[string]any); ok {
		p.addIndexes(pip)
	}
	return true, err
}

// addIndexes adds the indexes that settings name.
func (p *Project) addIndexes(settings map[string]any) {
	add := func(v any) {
		if url, ok := v.(string); ok {
			p.addIndex(url)
		}
	}
	add(settings["index-url"])
	for _, name := range []string{"index", "extra-index-url", "find-links"} {
		list, _ := settings[name].([]any)
		for _, item := range list {
			if table, ok := item.(map[string]any); ok {
				item = table["url"]
			}
			add(item)
		}
	}
}

// addIndex adds an index, a channel or a place of links to what is shown.
func (p *Project) addIndex(url string) {
	if url = strings.TrimSpace(url); url != "" && len(p.Indexes) < mostIndexes && !slices.Contains(p.Indexes, url) {
		p.Indexes = append(p.Indexes, url)
	}
}
