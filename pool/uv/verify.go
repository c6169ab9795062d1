package uv

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// distributions lists what is installed in a site-packages folder, by the names of the metadata folders (PyPA's
// specification of installed projects), sorted.
func distributions(sitePackages string) ([]builder.Package, error) {
	entries, err := os.ReadDir(sitePackages)
	if err != nil {
		return nil, err
	}
	list := []builder.Package{}
	for _, e := range entries {
		if p, ok := PackageOf(e.Name()); ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b builder.Package) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// PackageOf is the Python package whose metadata is in a folder of that name.
func PackageOf(folder string) (builder.Package, bool) {
	name, info := strings.CutSuffix(folder, ".dist-info")
	name, version, ok := strings.Cut(name, "-")
	return builder.Package{Name: pyreq.NormalName(name), Version: version}, info && ok
}

// Verify checks a finished environment: a power loss may have taken the last writes.
func (u *Builder) Verify(ctx context.Context, built builder.Built, dir string) error {
	if err := Unchanged(dir); err != nil { // before Python compiles anything
		return err
	}
	all := make(chan error, 1)
	go func() { all <- wholeSites(ctx, dir) }() // on another core
	said, err := u.imports(ctx, dir, standby.CheckArgs(false, nil))
	if err := errors.Join(<-all, err); err != nil {
		return err
	}
	return complete(built.Packages, said.SitePackages)
}

// complete checks that exactly the listed packages are there: one that was removed together with its RECORD leaves no
// other trace.
func complete(listed []builder.Package, sitePackages string) error {
	if listed == nil {
		return nil
	}
	found, err := distributions(sitePackages)
	if err != nil {
		return err
	}
	for _, p := range listed {
		if !slices.Contains(found, p) {
			return fmt.Errorf("%s %s is not there any more", p.Name, p.Version)
		}
	}
	for _, p := range found {
		if !slices.Contains(listed, p) {
			return fmt.Errorf("%s %s was added", p.Name, p.Version)
		}
	}
	return nil
}

// wholeSites is whole for all site-packages folders of a venv.
func wholeSites(ctx context.Context, dir string) error {
	sites, err := sitePackages(dir)
	if err != nil {
		return err
	}
	for _, site := range sites {
		if err := whole(ctx, site); err != nil {
			return err
		}
	}
	return nil
}

// sitePackages returns the site-packages folders of an environment.
func sitePackages(dir string) ([]string, error) {
	sites, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), builder.SitesBelow))
	if err == nil && len(sites) == 0 {
		err = errors.New("it has no site-packages")
	}
	return sites, err
}

// Unchanged checks that nothing was added to site-packages after the manifest was written.
func Unchanged(dir string) error {
	written, err := os.Stat(filepath.Join(dir, envdir.ManifestName))
	if err != nil {
		return err
	}
	sites, err := sitePackages(dir)
	if err != nil {
		return err
	}
	for _, site := range sites {
		entries, err := os.ReadDir(site)
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return err
			}
			if e.IsDir() && info.ModTime().After(written.ModTime()) {
				return fmt.Errorf("%s was changed after the environment was finished", e.Name())
			}
		}
	}
	return nil
}

// whole checks that each file that the installer recorded has its size.
func whole(ctx context.Context, site string) error {
	entries, err := os.ReadDir(site)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if strings.HasSuffix(e.Name(), ".dist-info") {
			if err := recorded(site, filepath.Join(site, e.Name(), "RECORD")); err != nil {
				return err
			}
		}
	}
	return nil
}

// recorded checks the sizes in a RECORD file.
func recorded(site, record string) error {
	return eachRecorded(record, func(path string, size int64) error {
		return sized(site, path, size)
	})
}

// eachRecorded calls f with the lines of a RECORD file: path, hash and size (PyPA's specification of installed
// projects). Without a size it is -1.
func eachRecorded(record string, each func(path string, size int64) error) error {
	f, err := safefile.Open(record)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := csv.NewReader(bufio.NewReader(io.LimitReader(f, envdir.MaxInside)))
	lines.FieldsPerRecord = -1
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", record, err)
		}
		size := int64(-1)
		if len(fields) >= 3 {
			if n, err := strconv.ParseInt(fields[2], 10, 64); err == nil { // some tools write it badly
				size = n
			}
		}
		if err := each(fields[0], size); err != nil {
			return err
		}
	}
}

// sized checks that a file below dir has its size; -1 is any, also of none.
func sized(dir, path string, size int64) error {
	if size < 0 {
		return nil
	}
	info, err := os.Stat(envdir.Within(dir, path))
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%s has %d bytes, %d were installed", path, info.Size(), size)
	}
	return err
}
