// Package project finds the project that a notebook belongs to, and reads what it says it needs. Nothing of a project
// is run here: its files are read with bounds, and the tools that install them do the rest.
package project

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"runtimed/internal/pyreq"
)

// The kinds of projects are the files that say what is installed. In one folder, the first of these counts.
const (
	UVLock       = "uv.lock"
	PyProject    = "pyproject.toml"
	PyLock       = "pylock.toml"
	PixiLock     = "pixi.lock"
	Pixi         = "pixi.toml"
	Environment  = "environment.yml"
	Requirements = "requirements.txt"
)

// Kinds are the kinds in their order.
var Kinds = []string{UVLock, PyProject, PyLock, PixiLock, Pixi, Environment, Requirements}

// Request names a project.
type Request struct {
	Path   string // a folder, which may be below the project's, or a file in it; absolute
	Extras []string
	Groups []string // of dependencies (PEP 735)
	Frozen bool     // a lock file that is older than its manifest is used as it is
}

// Project is what decides what an environment of a project has. Two that are equal have equal environments.
type Project struct {
	Path           string   `json:"path"` // its folder, without links
	Kind           string   `json:"kind"` // one of Kinds
	File           string   `json:"file"` // of that kind; that of a workspace may be further up
	Extras         []string `json:"extras,omitempty"`
	Groups         []string `json:"groups,omitempty"`
	Frozen         bool     `json:"frozen,omitempty"`
	Python         string   `json:"python,omitempty"`          // the version that .python-version names
	RequiresPython string   `json:"requires_python,omitempty"` // specifiers
	Digest         string   `json:"digest"`                    // of the content of all files that count

	Contents `json:"-"`
}

// Contents is what the files of a project say.
type Contents struct {
	Skipped []string // why folders and files on the way up do not count
	Indexes []string // package indexes and channels that it names
	Count   int      // of packages in the lock file; 0: not counted
	Manager string   // the file that the lock file was made from; may be empty

	UV       map[string]any // the settings for uv that count: of a uv.toml, or tool.uv
	Settings string         // the file that they are in; empty if none

	// Of pyproject.toml.
	Package       bool     // it can be installed itself
	DefaultGroups []string // of dependencies
	Hashed        bool     // a requirements file has hashes

	// Of the kinds for conda.
	Channels  []string
	Specs     []string          // match specs
	Pip       []string          // lines of a requirements file
	Variables map[string]string // to be set in the environment
	Lock      []byte            // the lock file
}

// Conda reports whether conda packages make its environment.
func (p *Project) Conda() bool {
	return p.Kind == PixiLock || p.Kind == Pixi || p.Kind == Environment
}

// DefaultPool is where an environment comes from, unless another pool is named.
const DefaultPool = "uv"

// Pool is where its environment comes from, unless another pool is named.
func (p *Project) Pool() string {
	if p.Conda() {
		return "conda"
	}
	return DefaultPool
}

// Locked reports whether a lock file says what is installed.
func (p *Project) Locked() bool { return p.Kind == UVLock || p.Kind == PyLock || p.Kind == PixiLock }

// Error says why there is no project, or why it cannot be used.
type Error struct {
	None    bool // there is none
	Changed bool // it is not as it was
	Message string
	Hint    string
}

func (e *Error) Error() string { return e.Message }

func errorf(hint, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Hint: hint}
}

// IsNone reports whether err means that no project was found.
func IsNone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.None
}

// Bare is the project without what its files say, which may be large.
func (p *Project) Bare() *Project {
	bare := *p
	bare.Contents = Contents{}
	return &bare
}

// Again reads the project again, and returns an *[Error] if anything that counts has changed.
func (p *Project) Again() (*Project, error) {
	now, err := read(p.Path, p.Kind, p.File, Request{Extras: p.Extras, Groups: p.Groups, Frozen: p.Frozen})
	if err != nil {
		return nil, err
	}
	if now.Digest != p.Digest {
		e := errorf("ask for it again", "the project at %s was changed meanwhile", p.Path)
		e.Changed = true
		return nil, e
	}
	return now, nil
}

// Find reads the project that r names.
func Find(r Request) (*Project, error) {
	f, err := find(r.Path)
	if err != nil {
		return nil, err
	}
	p, err := read(f.dir, f.kind, f.file, r)
	if err == nil {
		p.Skipped = f.skipped
	}
	return p, err
}

// read reads the project of that kind in dir.
func read(dir, kind, file string, r Request) (*Project, error) {
	p := &Project{Path: dir, Kind: kind, File: file, Extras: names(r.Extras), Groups: names(r.Groups), Frozen: r.Frozen}
	files := &reader{}
	defer files.close()
	readKind := map[string]func(*Project, *reader) error{
		UVLock: readUV, PyProject: readPyProject, PyLock: readPyLock, PixiLock: readPixi, Pixi: readPixi,
		Environment: readEnvironment, Requirements: readRequirements,
	}[kind]
	if err := readKind(p, files); err != nil {
		return nil, err
	}
	if !p.Conda() { // there, Python is a package like others
		if err := readPythonVersion(p, files); err != nil {
			return nil, err
		}
	}
	p.Digest = files.digest()
	return p, nil
}

// names are names of extras or groups in one form, sorted.
func names(list []string) []string {
	var out []string
	for _, n := range list {
		out = append(out, pyreq.NormalName(n))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// known returns an *Error if a name is none of those that the project has.
func known(what string, wanted, has []string, file string) error {
	has = names(has)
	for _, n := range wanted {
		if slices.Contains(has, n) {
			continue
		}
		hint := "it has none"
		if len(has) > 0 {
			hint = "it has: " + join(has)
		}
		return errorf(hint, "%s has no %s %q", file, what, n)
	}
	return nil
}

// only refuses what projects of a kind do not have.
func (p *Project) only(extras, groups bool) error {
	base := filepath.Base(p.File)
	if len(p.Extras) > 0 && !extras {
		return errorf("leave the extras out", "%s has no extras", base)
	}
	if len(p.Groups) > 0 && !groups {
		return errorf("leave the groups out", "%s has no groups of dependencies", base)
	}
	return nil
}
