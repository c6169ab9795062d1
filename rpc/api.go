// Package rpc is the contract between runtimed and its clients: JSON-RPC 2.0 over a Unix socket or a Windows pipe.
// docs/protocol.md describes it.
package rpc

import (
	"encoding/json"
	"errors"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Protocol is the version of this contract. It changes only if an old client could misunderstand a new daemon.
const Protocol = 1

// Name is the name in daemon.info.
const Name = "runtimed"

// The methods of the daemon.
const (
	MethodInfo        = "daemon.info"
	MethodPing        = "daemon.ping"
	MethodReload      = "daemon.reload"
	MethodShutdown    = "daemon.shutdown"
	MethodSetLogLevel = "daemon.set_log_level"
	MethodStatus      = "pool.status"
	MethodLock        = "pool.lock"
	MethodAcquire     = "pool.acquire"
	MethodRelease     = "pool.release"
	MethodFlush       = "pool.flush"
	MethodWatch       = "pool.watch"
	MethodUnwatch     = "pool.unwatch"
	MethodEnvList     = "env.list"
	MethodAdopt       = "env.adopt"
	MethodGC          = "env.gc"
	MethodDiscover    = "rpc.discover"
)

// Method is a method of the daemon.
type Method struct {
	Name       string
	Summary    string // one line, for rpc.discover
	Repeatable bool   // may be called again after its answer was lost
}

// Methods lists the methods of the daemon.
var Methods = []Method{
	{MethodInfo, "Says who answers, since when, and where its files are.", true},
	{MethodPing, "Answers, and does nothing else.", true},
	{MethodReload, "Reads the configuration again; a bad one changes nothing.", false},
	{MethodShutdown, "Stops the daemon; leases stay.", false},
	{MethodSetLogLevel, "Changes the log level until the next start.", false},
	{MethodStatus, "Returns the state of the pools.", true},
	{MethodLock, "Returns the lock file that a pool is built from; waits for the first build.", true},
	{MethodAcquire, "Leases an environment; waits in line where none is ready.", false},
	{MethodRelease, "Ends a lease; the environment is removed.", true},
	{MethodFlush, "Drops the ready environments and builds new ones.", false},
	{MethodWatch, "Returns the state of the pools, and then reports each change.", false},
	{MethodUnwatch, "Ends what pool.watch began on this connection.", false},
	{MethodEnvList, "Lists the environments.", true},
	{MethodAdopt, "Gives a lease to another process.", true},
	{MethodGC, "Deletes at once what is being removed.", false},
	{MethodDiscover, "Returns this document, in OpenRPC.", true},
}

// MethodOf looks a method up by its name.
func MethodOf(name string) Method {
	for _, m := range Methods {
		if m.Name == name {
			return m
		}
	}
	return Method{}
}

// The notifications. Clients send the first, the daemon sends the others.
const (
	NotifyCancel      = "$/cancelRequest"
	NotifyProgress    = "$/progress"
	NotifyPoolChanged = "pool.changed"
)

// The limits of the wire. Sizes are bytes.
const (
	MaxMessage     = 1 << 20  // one message in
	MaxHeader      = 8 << 10  // one Content-Length header block
	MaxDepth       = 1000     // nested arrays and objects of one message
	MaxBatch       = 1000     // elements of one batch
	MaxRunning     = 64       // requests of one connection that run at once
	MaxQueued      = 1024     // requests of one connection that wait behind those
	MaxHeld        = 48 << 20 // for all connections together
	MinHeld        = 8 << 10  // of that, always there for each connection
	MaxUnsent      = 1 << 20  // answers that a peer does not read, before reading from it pauses
	WriteTimeout   = 10 * time.Second
	MaxWaiters     = 1024 // acquires that wait for one pool
	MaxConnections = 4096 // at once, less where the descriptor limit is lower
	MaxWait        = 24 * time.Hour
	DefaultWait    = 60 * time.Second
	MaxLabel       = 256 // of a label, a key or a session
	MaxLinger      = time.Hour
	DefaultLinger  = 60 * time.Second // with a session
	MaxNeeds       = 512 << 10        // packages, requirements and script of one acquire together
	MaxPath        = 4096             // of a project
	MaxNames       = 100              // extras and groups of a project
)

// None is no params, or an empty result.
type None struct{}

// InfoParams are the params of daemon.info.
type InfoParams struct {
	Client *ClientInfo `json:"client,omitempty"`
}

// ClientInfo is the client as it appears in the daemon's log.
type ClientInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Info is the result of daemon.info.
type Info struct {
	Name       string    `json:"name"`
	Version    string    `json:"version"`
	Protocol   int       `json:"protocol"`
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"started_at"`
	Socket     string    `json:"socket"`
	StateDir   string    `json:"state_dir"`
	ConfigPath string    `json:"config_path"`
	UptimeMS   int64     `json:"uptime_ms"`
	StartedBy  string    `json:"started_by"` // one of the StartedBy constants
	Program    string    `json:"program"`    // path of the daemon's executable
	Replaced   bool      `json:"replaced"`   // another file is at that path now; a restart would run it
	Log        string    `json:"log"`        // path of the log file, or LogJournal
}

// Who started the daemon, and would start it again.
const (
	StartedByService = "service" // a service manager
	StartedByCommand = "command" // a command that needed an environment; the daemon ends when idle
	StartedByHand    = "hand"
)

// LogJournal is the Log of a daemon that writes to systemd's journal.
const LogJournal = "journal"

// JournalEntry is the field of a journal entry that holds the line of the log file: a JSON object.
const JournalEntry = "RUNTIMED_ENTRY"

// ReloadResult is the result of daemon.reload: the pools whose configuration has changed.
type ReloadResult struct {
	Changed []string `json:"changed"`
}

// LogLevel is the params and the result of daemon.set_log_level: debug, info, warn or error.
type LogLevel struct {
	Level string `json:"level"`
}

// PoolParams name one pool; nil is all of them.
type PoolParams struct {
	Pool *string `json:"pool,omitempty"`
}

// StatusResult is the result of pool.status and of pool.watch: the pools in the order of the configuration.
type StatusResult struct {
	Pools []PoolStatus `json:"pools"`
}

// LockParams are the params of pool.lock.
type LockParams struct {
	Pool   *string `json:"pool,omitempty"`    // default "uv"
	WaitMS *int64  `json:"wait_ms,omitempty"` // for the first build; 0 to 86,400,000; default 60,000
}

// LockResult is the result of pool.lock: the lock file of the newest environment.
type LockResult struct {
	Pool string `json:"pool"`
	Kind string `json:"kind"`
	Lock string `json:"lock"` // "sha256:" and the SHA-256 of text
	Text string `json:"text"` // in one form, without credentials
}

// The states of a pool.
const (
	PoolReady   = "ready"
	PoolWarming = "warming"
	PoolFailing = "failing"
	PoolOff     = "off"
)

// PoolStatus is one pool in pool.status.
type PoolStatus struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`      // "uv" or "conda"
	Target    int        `json:"target"`    // the configured size
	Available int        `json:"available"` // for an acquire now
	Warming   int        `json:"warming"`
	Leased    int        `json:"leased"`
	Removing  int        `json:"removing"`
	Waiting   int        `json:"waiting"` // acquires that wait
	State     string     `json:"state"`
	Python    string     `json:"python"` // as configured; empty: the daemon chooses
	Packages  []string   `json:"packages"`
	Tool      *Tool      `json:"tool"`  // null if none was looked for yet, or found
	Error     *PoolError `json:"error"` // null while builds succeed

	Standby StandbyStatus `json:"standby"`
	// A front-end that sees to it ends a kernel that is idle this long and that nobody is connected to; 0: never.
	IdleMS int64 `json:"idle_ms"`
	// Lock is the hash of the lock file that the pool's environments are built from, as in LockResult; empty: there is
	// none yet.
	Lock     string       `json:"lock"`
	Counters PoolCounters `json:"counters"`
}

// PoolCounters counts what has happened in a pool, and in those derived from it, since the daemon started.
type PoolCounters struct {
	Hits     int            `json:"hits"`      // acquires that got what was ready
	Misses   int            `json:"misses"`    // acquires that waited for a build, or got nothing
	WaitedMS int64          `json:"waited_ms"` // what all these acquires took
	Builds   int            `json:"builds"`    // environments that were built or extended
	Failures map[string]int `json:"failures"`  // builds that failed, by cause
}

// StandbyStatus is how a pool's standby kernels are.
type StandbyStatus struct {
	Target   int      `json:"target"` // as configured
	Ready    int      `json:"ready"`
	Why      string   `json:"why,omitempty"` // there are fewer, or the last caller could not have one
	Warnings []string `json:"warnings"`      // modules of preload that could not be imported ahead
}

type Tool struct {
	Name    string `json:"name"`              // "uv", "micromamba", "mamba", "conda" or "rattler"
	Version string `json:"version,omitempty"` // left out if unknown
	Path    string `json:"path"`              // of its executable
	Why     string `json:"why"`               // it was chosen
}

// PoolError is why the last builds of a pool failed.
type PoolError struct {
	Cause       string    `json:"cause"` // one of the causes in pool/builder
	Message     string    `json:"message"`
	Hint        string    `json:"hint"`
	Package     string    `json:"package,omitempty"`
	Output      string    `json:"output,omitempty"` // the tool's own last lines, at most 4 KiB
	Failures    int       `json:"failures"`         // in a row
	Since       time.Time `json:"since"`
	NextRetryMS int64     `json:"next_retry_ms"` // from now; 0 while a build runs
}

// PoolChanged is the params of a pool.changed notification.
type PoolChanged struct {
	Pool PoolStatus `json:"pool"`
	Gone bool       `json:"gone,omitempty"` // no longer configured; the rest of Pool means nothing
}

// AcquireParams are the params of pool.acquire.
type AcquireParams struct {
	Pool     *string `json:"pool,omitempty"`      // default "uv"
	WaitMS   *int64  `json:"wait_ms,omitempty"`   // 0 to 86,400,000; default 60,000
	OwnerPID *int    `json:"owner_pid,omitempty"` // default: the process at the other end of the socket
	Label    *string `json:"label,omitempty"`     // shown in env.list
	Key      *string `json:"key,omitempty"`       // the same owner and key get the same environment again
	Progress *bool   `json:"progress,omitempty"`  // send $/progress while waiting

	// What the environment needs beyond the packages of its pool, of the kind uv. All four add up.
	Packages     []string `json:"packages,omitempty"`     // PEP 508 requirements: "pandas", "rich>=13"
	Requirements *string  `json:"requirements,omitempty"` // the text of a requirements file; of options only --hash
	Script       *string  `json:"script,omitempty"`       // the text of a Python script, or of its PEP 723 block alone
	Python       *string  `json:"python,omitempty"`       // "3.12", ">=3.11,<3.14" or a path; default: the pool's

	// Session keeps the environment for LingerMS after its owner has ended, for the next owner that names the same
	// session.
	Session  *string `json:"session,omitempty"`
	LingerMS *int64  `json:"linger_ms,omitempty"` // 0 to 3,600,000; default 60,000; only with a session

	Standby *bool `json:"standby,omitempty"` // the caller can use a standby kernel; see Order

	// Project has the environment made from what a project says it needs, instead of the pool's packages.
	Project *ProjectParams `json:"project,omitempty"`
}

// ProjectParams name a project. A text in their place is the path alone.
type ProjectParams struct {
	Path   string   `json:"path"`             // a folder at or below the project's, or a file of it; absolute
	Extras []string `json:"extras,omitempty"` // of its optional dependencies
	Groups []string `json:"groups,omitempty"` // of its dependency groups, besides those that are the default
	Frozen *bool    `json:"frozen,omitempty"` // a lock file that is older than its manifest is used as it is
}

// UnmarshalJSONFrom reads a text or an object.
func (p *ProjectParams) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members ProjectParams
	switch dec.PeekKind() {
	case '"':
		return jsonv2.UnmarshalDecode(dec, &p.Path)
	case '{':
		return jsonv2.UnmarshalDecode(dec, (*members)(p))
	}
	return errors.New("neither a text nor an object")
}

// Where an acquired environment came from.
const (
	SourceReady    = "ready"
	SourceBuilt    = "built"    // while the caller waited
	SourceExtended = "extended" // a ready one of the pool, with the caller's needs added
	SourceResumed  = "resumed"  // the one that the session had before
)

// AcquireResult is the result of pool.acquire.
type AcquireResult struct {
	Env      Env       `json:"env"`
	Source   string    `json:"source"` // one of the Source constants
	Stale    bool      `json:"stale"`  // of the old configuration: the new one does not build
	WaitedMS int64     `json:"waited_ms"`
	Added    []Package `json:"added"` // what was installed for this call; empty unless extended
	AddedMS  int64     `json:"added_ms"`
	Standby  *Standby  `json:"standby"` // null if there is none, or none was asked for
}

// Standby is a standby kernel, which waits for an [Order].
type Standby struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"` // its path
}

// EnvParams name one environment by its id.
type EnvParams struct {
	Env string `json:"env"`
}

// AdoptParams are the params of env.adopt.
type AdoptParams struct {
	Env      string `json:"env"`
	OwnerPID int    `json:"owner_pid"`
}

// AdoptResult is the result of env.adopt.
type AdoptResult struct {
	Env Env `json:"env"`
}

// FlushResult is the result of pool.flush.
type FlushResult struct {
	Removed int `json:"removed"`
}

// The states of an environment.
const (
	EnvWarming  = "warming"
	EnvReady    = "ready"
	EnvLeased   = "leased"
	EnvRemoving = "removing"
)

// Env is one environment, and what it takes to activate it.
type Env struct {
	ID            string    `json:"id"`
	Pool          string    `json:"pool"`
	Kind          string    `json:"kind"`
	Path          string    `json:"path"`
	Python        string    `json:"python"` // absolute; runs as it is
	PythonVersion string    `json:"python_version"`
	State         string    `json:"state"`
	CreatedAt     time.Time `json:"created_at"`
	Packages      []Package `json:"packages"`
	Needs         []string  `json:"needs"`   // beyond the packages of its pool
	Project       *Project  `json:"project"` // that it was made for; null if none
	// Variables are merged into a child's environment; null removes the variable.
	Variables map[string]*string `json:"variables"`
	// PathPrepend goes before the child's PATH.
	PathPrepend []string `json:"path_prepend"`
}

// Project is a project that an environment was made for.
type Project struct {
	Path string `json:"path"` // its folder
	File string `json:"file"` // that says what is installed: a lock file or a manifest
}

// Package is one installed distribution.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// EnvListParams are the params of env.list.
type EnvListParams struct {
	Pool  *string `json:"pool,omitempty"`
	State *string `json:"state,omitempty"`
}

// EnvListResult is the result of env.list.
type EnvListResult struct {
	Envs []EnvListed `json:"envs"`
}

// EnvListed is an environment in env.list.
type EnvListed struct {
	Env
	SizeBytes *int64 `json:"size_bytes"` // null if unknown
	Lease     *Lease `json:"lease"`      // null unless leased
}

// Lease is who holds an environment.
type Lease struct {
	OwnerPID int       `json:"owner_pid"`
	Alive    bool      `json:"alive"`           // the owner may still run, or a process uses the environment
	Where    string    `json:"where,omitempty"` // the owner's place, if the daemon cannot see whether it runs
	Label    string    `json:"label"`
	Session  string    `json:"session"`
	Since    time.Time `json:"since"`

	KeptUntil *time.Time `json:"kept_until"` // for the session, after the end of its owner; null before that
}

// GCParams are the params of env.gc.
type GCParams struct {
	DryRun *bool `json:"dry_run,omitempty"`
}

// GCResult is the result of env.gc.
type GCResult struct {
	Removed []GCItem `json:"removed"`
	Kept    int      `json:"kept"`
	Strays  []GCItem `json:"strays"` // unmanaged directories, left alone
}

// GCItem is a folder that env.gc removes, would remove or leaves alone.
type GCItem struct {
	ID        string `json:"id"`
	Path      string `json:"path"`
	Reason    string `json:"reason"`
	SizeBytes int64  `json:"size_bytes"`
}

// Progress is the params of a $/progress notification.
type Progress struct {
	ID       json.RawMessage `json:"id"`    // of the request, byte for byte
	Stage    string          `json:"stage"` // one of the stages in pool/builder
	Message  string          `json:"message"`
	Fraction *float64        `json:"fraction,omitempty"` // 0 to 1, if known
}

// CancelParams are the params of $/cancelRequest.
type CancelParams struct {
	ID json.RawMessage `json:"id"`
}
