package conda

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

// What uv installs may take the place of a conda package, whose record stays and whose files go. So a conda package
// counts only as long as uv has not installed what it brought.

// pypiPart is what uv installed into a conda environment.
type pypiPart struct {
	list  []builder.Package
	names map[string]bool
	files map[string]bool // below the environment, with slashes
}

// pypiOf reads what uv installed into the environment at dir, and checks that each of its files is there.
func pypiOf(ctx context.Context, dir string) (part pypiPart, err error) {
	there, err := uv.Distributions(dir)
	if err != nil {
		return part, err
	}
	if dir, err = safefile.Resolve(dir); err != nil {
		return part, err
	}
	part.names, part.files = map[string]bool{}, map[string]bool{}
	for _, d := range there {
		if ctx.Err() != nil {
			return part, ctx.Err()
		}
		if !d.ByUV {
			continue
		}
		files, err := d.Whole()
		if err != nil {
			return part, fmt.Errorf("%s: %w", d.Name, err)
		}
		for _, f := range files {
			if rel, err := filepath.Rel(dir, f); err == nil {
				part.files[filepath.ToSlash(rel)] = true
			}
		}
		part.list, part.names[d.Name] = append(part.list, d.Package), true
	}
	return part, nil
}

// replaced reports whether uv installed some of the Python packages that a conda package brought, or all.
func (part pypiPart) replaced(p condaPackage) (some, all bool) {
	all = true
	for _, file := range p.files() {
		site, inside := path.Split(path.Dir(file))
		if path.Base(path.Clean(site)) != "site-packages" {
			continue
		}
		if d, ok := uv.PackageOf(inside); ok {
			some = some || part.names[d.Name]
			all = all && part.names[d.Name]
		}
	}
	return some, some && all
}

// reported are the packages of an environment, sorted by name.
func (part pypiPart) reported(packages []condaPackage) []builder.Package {
	list := slices.Clone(part.list)
	for _, p := range packages {
		if _, all := part.replaced(p); !all {
			list = append(list, builder.Package{Name: p.Name, Version: p.Version})
		}
	}
	slices.SortStableFunc(list, func(a, b builder.Package) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// complete checks that each of the listed packages is there: what was removed together with its records leaves no
// other trace.
func complete(listed, found []builder.Package) error {
	for _, p := range listed {
		if !slices.Contains(found, p) {
			return fmt.Errorf("%s %s is not there any more", p.Name, p.Version)
		}
	}
	return nil
}

// files are the paths of a package's files, with slashes.
func (p condaPackage) files() []string {
	if len(p.Files) > 0 {
		return p.Files
	}
	var files []string
	for _, f := range p.Paths.Paths {
		files = append(files, f.Path)
	}
	return files
}
