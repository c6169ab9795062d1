package project

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
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
	return readUVSettings(p, r, p.Path)
}

var (
	continued = lazyregexp.New(`\\\r?\n`)
	// leads are the options of a requirements file that name a file or a folder.
	leads   = lazyregexp.New(`^(-r|-c|-e|--requirement|--constraint|--editable)[ =]?\s*(.+)$`)
	indexes = lazyregexp.New(`^(?:-i|--index-url|--extra-index-url|-f|--find-links)[ =]?\s*(\S+)`)
	extras  = lazyregexp.New(`(?:\[[^\]]*\])?(?:#.*)?$`)
	comment = lazyregexp.New(`(^|\s+)#.*$`)
	archive = lazyregexp.New(`(?i)\.(whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz|tar)$`)
	named   = lazyregexp.New(`\$\{[A-Z0-9_]+\}`) // a variable, as pip documents it
)

// readLines reads the lines of a requirements file at path.
func readLines(p *Project, r *reader, path string, data []byte) error {
	for line := range strings.Lines(continued().ReplaceAllString(string(data), " ")) {
		line = strings.TrimSpace(comment().ReplaceAllString(strings.TrimRight(line, "\r\n"), ""))
		if line == "" {
			continue
		}
		line = named().ReplaceAllStringFunc(line, func(v string) string {
			if value, ok := os.LookupEnv(v[2 : len(v)-1]); ok {
				return value
			}
			return v
		})
		if strings.Contains(line, " --hash") {
			p.Hashed = true
		}
		if m := indexes().FindStringSubmatch(line); m != nil {
			p.addIndex(m[1])
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
		target = safefile.URLPath(u)
	} else if strings.Contains(target, "://") {
		return nil // it is fetched
	}
	target = extras().ReplaceAllString(target, "")
	isPath := strings.HasPrefix(target, ".") || strings.ContainsRune(filepath.ToSlash(target), '/') ||
		archive().MatchString(target)
	if m == nil && !isPath {
		return nil // a package of the index, or another option
	}
	if m == nil || m[1] == "-e" || m[1] == "--editable" {
		return r.sources(below(p.Path, target))
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
