package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// makePlatformTarball is what npm fetches where os and cpu fit.
func makePlatformTarball(p platform, c *common, programs []file) ([]byte, error) {
	manifest, err := encode(struct {
		Name            string   `json:"name"`
		Version         string   `json:"version"`
		Description     string   `json:"description"`
		License         string   `json:"license"`
		OS              []string `json:"os"`
		CPU             []string `json:"cpu"`
		PreferUnplugged bool     `json:"preferUnplugged"` // Yarn would keep it in a zip, from which nothing can be run
	}{p.npmName(), c.version, summary, "BSD-3-Clause", []string{p.npmOS}, []string{p.npmArch}, true})
	if err != nil {
		return nil, err
	}
	files := []file{
		{"package.json", manifest, false},
		{"LICENSE", c.license, false},
		{"NOTICES", c.notices, false},
		{"README.md", c.readme, false},
	}
	for _, program := range programs {
		files = append(files, file{"bin/" + program.name, program.data, true})
	}
	return tarball(files)
}

// makeClients has each language's own tools build its client.
func makeClients(root string, c *common, dir string) error {
	dir, err := filepath.Abs(dir) // the tools run in folders of their own
	if err != nil {
		return err
	}
	python := ".venv/bin/python"
	if _, err := os.Stat(filepath.Join(root, "clients/python", python)); err != nil {
		return fmt.Errorf("clients/python is not set up; run: go run ./task setup:python (%w)", err)
	}
	for _, project := range []string{".", "../jupyter"} {
		build := []string{"-m", "build", "--no-isolation", "--outdir", dir, project}
		if err := command(filepath.Join(root, "clients/python"), nil, python, build...); err != nil {
			return err
		}
	}
	compiled, err := os.MkdirTemp("", "packaging")
	if err != nil {
		return err
	}
	defer os.RemoveAll(compiled)
	typescript := filepath.Join(root, "clients/typescript")
	if _, err := os.Stat(filepath.Join(typescript, "node_modules")); err != nil {
		return fmt.Errorf("clients/typescript is not set up; run: go run ./task setup:typescript (%w)", err)
	}
	if err := command(typescript, nil, "npx", "--no", "--", "tsc", "--outDir", compiled); err != nil {
		return err
	}
	data, err := makeClientTarball(typescript, compiled, c)
	if err != nil {
		return err
	}
	return write(dir, "runtimed-client-"+c.version+".tgz", data)
}

// clientManifest is the client's package.json: what is published of it, in order, and what only development needs.
type clientManifest struct {
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Description string          `json:"description"`
	License     string          `json:"license"`
	Type        string          `json:"type"`
	Engines     json.RawMessage `json:"engines"`
	Exports     json.RawMessage `json:"exports"` // the order in it counts
	Files       json.RawMessage `json:"files"`
	SideEffects bool            `json:"sideEffects"`

	// npm ci could not fetch what nobody has published, so these are in the published file alone.
	Bin                  map[string]string `json:"bin"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`

	Scripts         json.RawMessage `json:"scripts,omitempty"`
	DevDependencies json.RawMessage `json:"devDependencies,omitempty"`
}

func makeClientTarball(typescript, compiled string, c *common) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(typescript, "package.json"))
	if err != nil {
		return nil, err
	}
	var manifest clientManifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // or it would be missing where it is published
	if err := d.Decode(&manifest); err != nil {
		return nil, fmt.Errorf("clients/typescript/package.json: %w", err)
	}
	manifest.Scripts, manifest.DevDependencies = nil, nil
	manifest.Bin = map[string]string{"runt": "dist/runt.js"}
	manifest.OptionalDependencies = map[string]string{}
	for _, p := range platforms {
		manifest.OptionalDependencies[p.npmName()] = c.version
	}
	if text, err = encode(manifest); err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(typescript, "README.md"))
	if err != nil {
		return nil, err
	}
	files := []file{{"package.json", text, false}, {"LICENSE", c.license, false}, {"README.md", readme, false}}
	names, err := filepath.Glob(filepath.Join(compiled, "*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		base := filepath.Base(name)
		files = append(files, file{"dist/" + base, data, base == "runt.js"})
	}
	return tarball(files)
}

func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return text.Bytes(), err
}

// tarball is one as npm wants it: everything below package/.
func tarball(files []file) ([]byte, error) {
	var out bytes.Buffer
	g, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(g)
	for _, f := range files {
		h := &tar.Header{Name: "package/" + f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: epoch}
		h.Format = tar.FormatUSTAR
		if f.program {
			h.Mode = 0o755
		}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	err = g.Close()
	return out.Bytes(), err
}
