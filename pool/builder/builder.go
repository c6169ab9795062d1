package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// The kinds of environment.
const (
	KindUV    = "uv"
	KindConda = "conda"
)

// Spec is what an environment is made of, as configured.
type Spec struct {
	Kind           string
	Python         string   // empty: the newest suitable; else a version like "3.12", or an absolute path
	Packages       []string // requirements (uv) or match specs (conda)
	Channels       []string // conda only
	RequiresPython string   `json:"Fits,omitempty"` // version specifiers that the Python at an absolute path must satisfy
	// Like is the spec of the pool that this one has more than, for the needs of one acquire; nil for a pool's own. What the two have
	// in common gets the same versions where that goes together, so it is no part of what was asked for.
	Base *Spec `json:"-"`
}

// Hash names the spec on disk. It covers what was configured and nothing else: neither the tool's version nor what the
// packages resolve to, so that a renewed lock retires nothing.
func (s Spec) Hash() string {
	sorted := s
	sorted.Packages = slices.Sorted(slices.Values(s.Packages))
	if len(s.Channels) == 0 {
		sorted.Channels = nil // and not an empty list, which reads differently
	}
	data, err := json.Marshal(sorted) // channels keep their order: it is their priority
	if err != nil {
		panic(err) // strings and slices of strings always marshal
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// Stage is how far a build has come.
type Stage struct {
	Name     string // one of the Stage constants
	Message  string
	Fraction *float64 // 0 to 1, where it can be told
}

// The stages of a build, in their order; any may be left out.
const (
	StageQueued      = "queued"
	StageResolving   = "resolving"
	StageDownloading = "downloading"
	StageInstalling  = "installing"
	StageCompiling   = "compiling"
	StageVerifying   = "verifying"
)

// Package is an installed distribution.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Built is what a builder knows of the environment it made and verified.
type Built struct {
	Python        string // absolute path inside the environment
	PythonVersion string
	Packages      []Package
	Variables     map[string]*string // nil: take the name out of the environment of a child
	PathPrepend   []string
	SizeBytes     int64    // on disk; 0: not measured
	Sentinels     []string // paths whose size, time and inode tell a damaged environment, relative ones inside it
}

// Tool is the program that environments of a kind are built with.
type Tool struct {
	Name    string // uv, or the provider of conda environments
	Version string // empty: it was not asked
	Path    string // of its executable
	Why     string // this one was taken
}

// Builder makes environments of one kind.
type Builder interface {
	// Build makes a verified environment at dir, which does not exist yet; it reports stages, and returns a *Error that says
	// what kind of failure it was. What it leaves behind after a failure is removed by the caller.
	Build(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error)
	// Verify proves that a finished environment still works, after a crash of the machine for example: its kernel can be
	// imported, and every file has the size that the installer recorded.
	Verify(ctx context.Context, built Built, dir string) error
	// Renew resolves spec anew where what it resolved to is older than age, for builds to come. It retires nothing.
	Renew(ctx context.Context, spec Spec, age time.Duration) error
	// Tool is what builds are made with; false while none was looked for, or found.
	Tool() (Tool, bool)
}

// Extender is a Builder that can add to a finished environment what another spec has more.
type Extender interface {
	// Prepare does all of a build that can fail before an environment is touched: it finds the tool and the Python, whose version it
	// returns, and resolves spec, anew where that was done longer than age ago. The version is empty where no environment of the pool
	// will do, whatever its version. mark is as in Build.
	Prepare(ctx context.Context, spec Spec, mark string, age time.Duration, progress func(Stage)) (pythonVersion string, err error)
	// Extend makes of the finished environment at dir, which has that Python, one of spec, and verifies it as Build does. After a
	// failure nobody knows what dir is.
	Extend(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error)
}

// The causes of a failed build.
const (
	CausePackageNotFound = "package_not_found"
	CauseUnsatisfiable   = "unsatisfiable"
	CauseNetwork         = "network"
	CauseAuth            = "auth"
	CauseTimeout         = "timeout"
	CauseDiskFull        = "disk_full"
	CauseCorrupt         = "corrupt"
	CauseToolMissing     = "tool_missing"
	CausePythonMissing   = "python_missing"
	CauseVerifyFailed    = "verify_failed"
	CausePermission      = "permission"
	CauseOther           = "other"
)

// Error is why an environment could not be made.
type Error struct {
	Cause   string // one of the Cause constants
	Message string // one lower-case sentence
	Hint    string // the next step
	Package string // the package to blame, where one can be told
	Output  string // the tool's own last lines
	Machine bool   // it says nothing of the environment; see trouble
}

func (e *Error) Error() string {
	if e.Output == "" {
		return e.Message
	}
	return e.Message + ": " + LastLine(e.Output)
}

func LastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// NoUserSite keeps ~/.local out of what a Python imports: a conda environment would read its packages before its own, and a venv never
// reads them.
const NoUserSite = "PYTHONNOUSERSITE"

// ByItself is in the hint of a failure that needs nobody; it holds for pools of the configuration alone.
const ByItself = "it is tried again by itself"

const RenewEvery = time.Hour // looks at the age of lock files

func CauseOf(err error) string {
	var b *Error
	if errors.As(err, &b) {
		return b.Cause
	}
	return ""
}
