package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"runtimed/internal/project"
	"runtimed/internal/pyreq"
)

// The kinds of environment.
const (
	KindUV    = "uv"
	KindConda = "conda"
)

// Spec is what an environment is made of, as configured.
type Spec struct {
	Kind           string
	Python         string   // empty: the newest; else a version like "3.12", or an absolute path
	Packages       []string // requirements (uv) or match specs (conda)
	Channels       []string // conda only
	RequiresPython string   `json:"Fits,omitempty"` // specifiers for a Python at an absolute path
	// Lock is the hash of a lock file that says all that is installed, instead of Packages: see Locked. Or empty.
	Lock string `json:",omitempty"`
	// Hashed are lines of Packages with the hashes that files of theirs must have; in a lock file's form.
	Hashed []string `json:",omitempty"`
	// Locked is what Lock names, and LockFile where it was read.
	Locked   *pyreq.Lock `json:"-"`
	LockFile string      `json:"-"`
	// Unlocked is why the lock file of the pool cannot be used, so that nothing can be built. Or empty.
	Unlocked string `json:",omitempty"`
	// Preload are modules of which a build may compile the code ahead. They are no part of what was asked for.
	Preload []string `json:"-"`
	// Project is the project that the environment is made for, instead of the pool; Packages come in addition. Or nil.
	Project *project.Project `json:",omitempty"`
	// PoolPython is the python of the pool, which is used where the project takes it.
	PoolPython string `json:",omitempty"`
	// Base is the pool's spec, if this one adds the needs of an acquire to it; else nil. Packages of both keep the
	// pool's versions where that is possible. So Base is no part of what was asked for.
	Base *Spec `json:"-"`
}

// Hash names the spec on disk. It covers only what was configured: not the tool's version and not the resolved set,
// so a renewed lock file retires no environment.
func (s Spec) Hash() string {
	sorted := s
	sorted.Packages = slices.Sorted(slices.Values(s.Packages))
	if len(s.Channels) == 0 {
		sorted.Channels = nil // an empty list would hash differently
	}
	data, err := json.Marshal(sorted) // the order of channels is their priority
	if err != nil {
		panic(err) // strings always marshal
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// Buildable says why nothing can be built: the lock file of the pool, or of the one that this adds to, cannot be used.
func (s Spec) Buildable() error {
	if s.Base != nil && s.Project == nil {
		s = *s.Base
	}
	if s.Unlocked == "" {
		return nil
	}
	return Errorf(CauseOther, "once it is mended, it is read again at once; check it with: runt config check", "%s",
		s.Unlocked)
}

// Stage is the progress of a build.
type Stage struct {
	Name     string // one of the Stage constants
	Message  string
	Fraction *float64 // 0 to 1; nil if unknown
}

// The stages of a build, in order. Any may be left out.
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

// Built is what a builder reports about an environment that it made and verified.
type Built struct {
	Python        string // absolute path inside the environment
	PythonVersion string
	Packages      []Package
	Variables     map[string]*string // as in Activation
	PathPrepend   []string
	SizeBytes     int64    // on disk; 0: not measured
	Lock          string   // the hash of what was locked; see LockName
	Sentinels     []string // files whose size, time and inode show damage; relative paths are inside the environment
}

// LockName is the file in the folder of a pool's environment that has the lock file that it was built from, without
// credentials, and in one form.
const LockName = "runtimed.lock"

// Tool is the program that builds environments of a kind.
type Tool struct {
	Name    string // uv, or the provider of conda environments
	Version string // empty: not asked yet
	Path    string // of its executable
	Why     string // the reason for this one
}

// Builder makes environments of one kind.
type Builder interface {
	// Build makes a verified environment at dir, which must not exist. It reports stages. The error is an *Error. The
	// caller removes what a failed build leaves behind.
	Build(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error)
	// Verify checks a finished environment, after a crash of the machine for example: its kernel can be imported, and
	// every file has the size that the installer recorded.
	Verify(ctx context.Context, built Built, dir string) error
	// Standby starts a standby kernel in a finished environment. ctx says where it is left; see Keep.
	Standby(ctx context.Context, built Built, dir string) error
	// Renew resolves spec again, for later builds, if its lock file is older than age. It retires nothing.
	Renew(ctx context.Context, spec Spec, age time.Duration) error
	// Tool returns what builds use; false if none has been looked for or found.
	Tool() (Tool, bool)
}

// Extender is a Builder that can add packages to a finished environment.
type Extender interface {
	// Prepare does what can fail before an environment is touched: it finds the tool and the Python, and resolves
	// spec, again if its lock file is older than age. It returns the Python's version, or "" if no environment of the
	// pool will do, whatever its version. mark is as in Build.
	Prepare(ctx context.Context, spec Spec, mark string, age time.Duration, progress func(Stage)) (pythonVersion string,
		err error)
	// Extend turns the finished environment at dir, which has that Python, into one of spec, and verifies it. After a
	// failure the state of dir is unknown.
	Extend(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error)
}

// The causes of a failed build.
const (
	CausePackageNotFound = "package_not_found"
	CauseUnsatisfiable   = "unsatisfiable"
	CauseNetwork         = "network"
	CauseCertificate     = "certificate"
	CauseAuth            = "auth"
	CauseTimeout         = "timeout"
	CauseDiskFull        = "disk_full"
	CauseCorrupt         = "corrupt"
	CauseToolMissing     = "tool_missing"
	CausePythonMissing   = "python_missing"
	CauseVerifyFailed    = "verify_failed"
	CausePermission      = "permission"
	CauseLockOutdated    = "lock_outdated"   // a project's lock file is older than its manifest
	CauseProjectChanged  = "project_changed" // while its environment was made
	CauseSourceBuild     = "source_build"    // a package cannot be built from its source
	CauseOther           = "other"
)

// Error says why an environment could not be made.
type Error struct {
	Cause   string // one of the Cause constants
	Message string // one lower-case sentence
	Hint    string // the next step
	Package string // the package at fault, if it can be told
	Output  string // the tool's own last lines
	Machine bool   // the machine is at fault, and the environment may be sound
}

// Errorf returns an Error with that cause and next step, and a message.
func Errorf(cause, hint, format string, args ...any) *Error {
	return &Error{Cause: cause, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// Saying adds the tool's own last lines.
func (e *Error) Saying(output string) *Error {
	e.Output = output
	return e
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

// NoUserSite keeps ~/.local out of sys.path. A conda environment would read it before its own packages; a venv never
// does.
const NoUserSite = "PYTHONNOUSERSITE"

// ByItself is in the hint of a failure that needs no action. It is true for configured pools only.
const ByItself = "it is tried again by itself"

const RenewEvery = time.Hour // checks the age of lock files

func CauseOf(err error) string {
	var b *Error
	if errors.As(err, &b) {
		return b.Cause
	}
	return ""
}
