package project

import (
	"net/url"
	"path/filepath"
	"strings"

	"runtimed/internal/lazyregexp"
)

// readRequirements reads a requirements file and what it leads to. uv reads it again, with all its rules: here only
// the content counts.
func readRequirements(p *Project, r *reader) error {
	if err := p.only(false, false); err != nil {
		return err
	}
	data, err := r.file(p.File, maxManifest)
	if err != nil {
		return err
	}
	if err := readLines(p, r, p.File, data); err != nil {
		return err
	}
	if err := readUVToml(p, r, p.Path); err != nil {
		return err
	}
	data, err = r.maybe(filepath.Join(p.Path, PyProject), maxManifest)
	if err != nil || data == nil {
		return err
	}
	var m manifest
	if err := readTOML(filepath.Join(p.Path, PyProject), data, &m); err != nil {
		return err
	}
	p.Indexes = append(p.Indexes, m.Tool.UV.indexes()...)
	return nil
}

var (
	continued = lazyregexp.New(`\\\r?\n`)
	// leads are the options of a requirements file that name a file or a folder.
	leads   = lazyregexp.New(`^(-r|-c|-e|--requirement|--constraint|--editable)[ =]?\s*(.+)$`)
	indexes = lazyregexp.New(`^(?:-i|--index-url|--extra-index-url)[ =]?\s*(\S+)`)
	links   = lazyregexp.New(`^(?:-f|--find-links)[ =]?\s*(\S+)`)
	extras  = lazyregexp.New(`\[[^\]]*\]$`)
)

// readLines reads the lines of a requirements file at path.
func readLines(p *Project, r *reader, path string, data []byte) error {
	for line := range strings.Lines(continued().ReplaceAllString(string(data), " ")) {
		line, _, _ = strings.Cut(line, " #")
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.Contains(line, " --hash") {
			p.Hashed = true
		}
		if m := indexes().FindStringSubmatch(line); m != nil {
			p.Indexes = append(p.Indexes, m[1])
			continue
		}
		if m := links().FindStringSubmatch(line); m != nil {
			continue
		}
		if err := readLead(p, r, path, line); err != nil {
			return err
		}
	}
	return nil
}

// readLead reads the file or folder that a line names.
func readLead(p *Project, r *reader, path, line string) error {
	m := leads().FindStringSubmatch(line)
	target := line
	if m != nil {
		target = m[2]
	}
	target, _, _ = strings.Cut(target, ";")
	target = strings.Trim(strings.TrimSpace(target), `"'`)
	if _, at, ok := strings.Cut(target, " @ "); ok && m == nil {
		target = strings.TrimSpace(at)
	}
	if u, err := url.Parse(target); err == nil && u.Scheme == "file" {
		target = u.Path
	} else if strings.Contains(target, "://") || strings.Contains(target, "$") {
		return nil // fetched, or named by a variable
	}
	if m == nil && !strings.HasPrefix(target, ".") && !filepath.IsAbs(target) {
		return nil // a package of the index
	}
	if m == nil || m[1] == "-e" || m[1] == "--editable" {
		return r.source(below(p.Path, extras().ReplaceAllString(target, "")))
	}
	file := below(filepath.Dir(path), target)
	if _, seen := r.read[file]; seen {
		return nil
	}
	data, err := r.file(file, maxManifest)
	if err != nil {
		return err
	}
	return readLines(p, r, file, data)
}
