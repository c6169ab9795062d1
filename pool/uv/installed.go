package uv

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"

	"runtimed/internal/safefile"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Distribution is an installed Python package.
type Distribution struct {
	builder.Package
	ByUV bool // uv installed it, and recorded each of its files

	site, info string // its site-packages, and the folder of its metadata there
}

// Distributions lists the Python packages in the environment at dir, whoever installed them; none if it has no Python.
func Distributions(dir string) (list []Distribution, err error) {
	sites, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), builder.SitesBelow))
	if err != nil {
		return nil, err
	}
	var seen []string
	for _, site := range sites {
		// conda has lib/python3.1 as a link to lib/python3.11, for programs that cut the version short
		if site, err = safefile.Resolve(site); err != nil {
			return nil, err
		}
		if slices.Contains(seen, site) {
			continue
		}
		seen = append(seen, site)
		entries, err := os.ReadDir(site)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			p, ok := PackageOf(e.Name())
			if !ok {
				continue
			}
			by, _ := envdir.ReadInside(filepath.Join(site, e.Name(), "INSTALLER")) // without one, it is not uv's
			list = append(list, Distribution{p, string(bytes.TrimSpace(by)) == "uv", site, e.Name()})
		}
	}
	return list, nil
}

// Whole checks that each recorded file is there with its size, and returns the paths of all.
func (d Distribution) Whole() (files []string, err error) {
	record := filepath.Join(d.site, d.info, "RECORD")
	err = eachRecorded(record, func(path string, size int64) error {
		path = filepath.FromSlash(path)
		files = append(files, envdir.Within(d.site, path))
		return sized(d.site, path, size)
	})
	return files, err
}
