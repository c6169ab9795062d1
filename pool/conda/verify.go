package conda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
	"runtimed/pool/uv"
)

// verified activates the environment at dir, imports the kernel with its own Python, checks that every file is there,
// and reports what is. again and preload are for the import check.
func (c *Builder) verified(ctx context.Context, dir string, again bool, preload []string) (builder.Built, error) {
	packages, err := condaPackages(dir)
	if err != nil {
		return builder.Built{}, uv.NotListed(err)
	}
	var act builder.Activation
	var size int64
	var pypi pypiPart
	said, err := uv.Verified(ctx, dir, func() (err error) {
		pypi, err = wholePrefix(ctx, dir, packages)
		if again { // nothing more will be compiled
			size = envdir.DiskSize(ctx, dir)
		}
		return err
	},
		func() (said standby.Says, err error) {
			if act, err = c.activation(ctx, dir); err != nil {
				return said, err
			}
			return c.uv.ImportKernel(ctx, dir, pythonOf(dir), act, standby.CheckArgs(again, preload))
		}, pythonOf(dir), filepath.Join(dir, "conda-meta", "history"))
	if err != nil {
		return builder.Built{}, err
	}
	built := builder.Built{
		Python: pythonOf(dir), PythonVersion: said.Version, Sentinels: said.Sentinels,
		Variables: act.Variables, PathPrepend: act.PathPrepend, SizeBytes: size, Packages: pypi.reported(packages),
	}
	return built, nil
}

// Verify checks a finished environment: a power loss may have taken the last writes.
func (c *Builder) Verify(ctx context.Context, built builder.Built, dir string) error {
	packages, err := condaPackages(dir)
	if err != nil {
		return err
	}
	pypi, err := wholePrefix(ctx, dir, packages)
	if err := errors.Join(uv.Unchanged(dir), err); err != nil {
		return err
	}
	if err := complete(built.Packages, pypi.reported(packages)); err != nil {
		return err
	}
	_, err = c.uv.ImportKernel(ctx, dir, pythonOf(dir),
		builder.Activation{Variables: built.Variables, PathPrepend: built.PathPrepend},
		standby.CheckArgs(false, nil))
	return err
}

// Standby starts a standby kernel in the finished environment at dir; see builder.Keep.
func (c *Builder) Standby(ctx context.Context, built builder.Built, dir string) error {
	return c.uv.Standby(ctx, built, dir)
}

// condaPackage is what conda-meta says about an installed package.
type condaPackage struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	URL     string   `json:"url"` // its source
	MD5     string   `json:"md5"`
	SHA256  string   `json:"sha256"`
	Depends []string `json:"depends"`
	Files   []string `json:"files"`
	Paths   struct {
		Paths []condaPath `json:"paths"`
	} `json:"paths_data"`
}

// condaPath is a file of a package in paths.json. The size is that in the package: a text that contains the prefix
// has another size when installed.
type condaPath struct {
	Path        string `json:"_path"`
	Type        string `json:"path_type"`
	Size        int64  `json:"size_in_bytes"`
	Placeholder string `json:"prefix_placeholder"`
	Mode        string `json:"file_mode"`
}

// condaPackages reads conda-meta, sorted by name. Every tool writes it alike.
func condaPackages(dir string) ([]condaPackage, error) {
	records, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "conda-meta", "*.json"))
	if err != nil {
		return nil, err
	}
	list := make([]condaPackage, 0, len(records))
	for _, path := range records {
		data, err := envdir.ReadInside(path)
		if err != nil {
			return nil, err
		}
		var p condaPackage
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		if p.Name == "" {
			return nil, fmt.Errorf("%s names no package", filepath.Base(path))
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, errors.New("conda-meta has none")
	}
	slices.SortFunc(list, func(a, b condaPackage) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// wholePrefix checks that each file of the packages is there, with its size if that is known, and returns what uv
// installed.
func wholePrefix(ctx context.Context, dir string, packages []condaPackage) (pypiPart, error) {
	pypi, err := pypiOf(ctx, dir)
	if err != nil {
		return pypi, err
	}
	for _, p := range packages {
		if ctx.Err() != nil {
			return pypi, ctx.Err()
		}
		if some, _ := pypi.replaced(p); some {
			continue
		}
		if err := p.whole(dir, pypi.files); err != nil {
			return pypi, err
		}
	}
	return pypi, nil
}

// whole checks the files of a package, other than those that were overwritten.
func (p condaPackage) whole(dir string, overwritten map[string]bool) error {
	known := map[string]condaPath{}
	for _, path := range p.Paths.Paths {
		known[path.Path] = path
	}
	for _, file := range p.files() {
		if strings.HasSuffix(file, ".pyc") || overwritten[file] {
			continue // Python writes it again if its source is younger
		}
		info, err := os.Lstat(envdir.Within(dir, file))
		if err != nil {
			return fmt.Errorf("%s of %s: %w", file, p.Name, errors.Unwrap(err))
		}
		want, ok := known[file]
		if !ok || !info.Mode().IsRegular() || want.Type == "softlink" || want.Size == 0 ||
			want.Placeholder != "" && want.Mode != "binary" {
			continue
		}
		if info.Size() != want.Size {
			return fmt.Errorf("%s of %s has %d bytes, %d were installed", file, p.Name, info.Size(), want.Size)
		}
	}
	return nil
}

func (c *Builder) Tidy() {
	c.uv.Tidied.Do(c.uv.Tidy) // now: when rattler first looks for uv, a lock file may be in the making
	c.own.Tidy()
}
