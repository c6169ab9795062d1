package conda

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"runtimed/internal/project"
	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// pixi is a pixi.lock, as the helper is told of it.
type pixi struct {
	Lock   string `json:"lock"`   // a copy of it
	File   string `json:"file"`   // from where that is
	Frozen bool   `json:"frozen"` // it is used even if it is older than the manifest

	Manifest     string        `json:"manifest"` // its file; empty: there is none
	Specs        []string      `json:"specs"`    // that it must meet
	Requirements []requirement `json:"requirements"`
	Paths        []string      `json:"paths"` // of folders that it must have
}

// requirement is one of a manifest, as far as a lock file can be compared with it.
type requirement struct {
	Name string `json:"name"`
	Text string `json:"text"` // with its version
}

// condaAnswered is what the helper says of what it installed.
type condaAnswered struct {
	PyPI     []lockedDistribution `json:"pypi"`      // of the pixi.lock
	NoKernel string               `json:"no_kernel"` // why ipykernel cannot be had from the channels
}

// lockedDistribution is a package of PyPI in a pixi.lock.
type lockedDistribution struct {
	Name     string `json:"name"`
	Location string `json:"location"` // a URL, or a path that starts from the project
	SHA256   string `json:"sha256"`
	Editable bool   `json:"editable"`
}

// pixiIn writes the lock file of a project to a scratch folder for the helper.
func pixiIn(scratch string, p *project.Project) (*pixi, error) {
	request := &pixi{Lock: filepath.Join(scratch, project.PixiLock), File: p.File, Frozen: p.Frozen,
		Manifest: p.Manager, Specs: p.Specs}
	for _, line := range p.Pip {
		if path, is := localPath(line); is {
			request.Paths = append(request.Paths, path)
		} else if r, ok := requirementOf(line); ok {
			request.Requirements = append(request.Requirements, r)
		}
	}
	return request, envdir.DiskError(os.WriteFile(request.Lock, p.Lock, 0o600))
}

var namedRequirement = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$`)

func requirementOf(line string) (requirement, bool) {
	m := namedRequirement.FindStringSubmatch(line)
	if m == nil {
		return requirement{}, false
	}
	r := requirement{Name: pyreq.NormalName(m[1]), Text: m[1]}
	if !strings.HasPrefix(m[2], "@") {
		r.Text += m[2]
	}
	return r, true
}

// localPath is the path that a line of a requirements file names, if it is no more than that.
func localPath(line string) (string, bool) {
	path, editable := strings.CutPrefix(line, "-e ")
	path = strings.TrimSpace(path)
	return path, editable || strings.HasPrefix(path, ".") || filepath.IsAbs(path)
}

// installLocked installs the PyPI part of a pixi.lock: first what has a hash, which is checked, then what is built from
// folders and repositories.
func (c *Builder) installLocked(ctx context.Context, dir string, p *project.Project, list []lockedDistribution,
	progress func(builder.Stage)) error {
	var hashed, others []string
	for _, d := range list {
		d.Editable = d.Editable || slices.ContainsFunc(p.Pip, func(line string) bool {
			path, is := localPath(line)
			return is && strings.HasPrefix(line, "-e ") && below(p.Path, path) == below(p.Path, d.Location)
		})
		line, sure, err := d.line(p)
		if err != nil {
			return err
		}
		if sure {
			hashed = append(hashed, line)
		} else {
			others = append(others, line)
		}
	}
	into := uv.Addition{Env: dir, Python: pythonOf(dir)}
	if err := c.uv.InstallLines(ctx, into, hashed, true, progress); err != nil {
		return err
	}
	return c.uv.InstallLines(ctx, into, others, false, progress)
}

var distributionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// line is the distribution in a requirements file. sure means that it has a hash.
func (d lockedDistribution) line(p *project.Project) (line string, sure bool, err error) {
	location := strings.TrimPrefix(d.Location, "direct+")
	remote := strings.Contains(location, "://") && !strings.HasPrefix(location, "file://")
	if !distributionName.MatchString(d.Name) || strings.ContainsFunc(location, unicode.IsControl) ||
		remote && strings.ContainsFunc(location, unicode.IsSpace) || location == "" {
		return "", false, builder.Errorf(builder.CauseOther, "make the lock file anew: pixi lock",
			"%s has a package of PyPI that is written in a way that cannot be read: %q", p.File, d.Name)
	}
	sum := d.SHA256
	switch {
	case strings.HasPrefix(location, "git+"):
		location, sum = gitURL(location), ""
	case remote:
		if at, fragment, ok := strings.Cut(location, "#sha256="); ok {
			location, sum = at, fragment
		}
	default:
		path := below(p.Path, location)
		location = fileURL(path)
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			sum = "" // pixi's own sum of a folder
		}
		if d.Editable {
			return "-e " + location, false, nil
		}
	}
	line = d.Name + " @ " + strings.ReplaceAll(location, "$", "%24") // uv would put in the daemon's variables
	if sum == "" {
		return line, false, nil
	}
	return line + " --hash=sha256:" + sum, true, nil
}

// below is a location in a lock file as a path.
func below(dir, location string) string {
	if u, err := url.Parse(location); err == nil && u.Scheme == "file" {
		location = safefile.URLPath(u)
	}
	path := filepath.FromSlash(location)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive of Windows
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// gitURL is a repository at a commit as uv wants it; pixi has the commit where uv has the folder.
func gitURL(location string) string {
	u, err := url.Parse(location)
	if err != nil || !commit.MatchString(u.Fragment) {
		return location
	}
	at, folder := u.Fragment, u.Query().Get("subdirectory")
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	u.Path += "@" + at
	if folder != "" {
		u.Fragment = "subdirectory=" + folder
	}
	return u.String()
}

var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)
