package pool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// State is where an environment is in its life.
type State string

// The states. Extending is shown to others as Warming.
const (
	Warming   State = "warming"
	Ready     State = "ready"
	Extending State = "extending"
	Leased    State = "leased"
	Removing  State = "removing"

	unborn State = "" // a build was queued, or its folder was found on disk
)

// transitions are all moves between states. The package comment says what causes them.
var transitions = map[State][]State{
	unborn:    {Warming, Ready, Leased, Removing},
	Warming:   {Ready, Removing},
	Ready:     {Extending, Leased, Removing},
	Extending: {Ready, Removing},
	Leased:    {Leased, Ready, Removing},
}

// env is one environment. The Manager's lock guards all but id, dir, log and record.
type env struct {
	id, dir string
	log     *zap.Logger
	purpose

	state  State // changed by moveLocked only
	since  time.Time
	warned string // the last warning in this state; see warnOnceLocked

	// What belongs to a state. Leaving it empties these.
	build     *build     // warming or extending
	extension *extension // extending
	tenancy   tenancy    // leased
	removal   removal    // removing

	// From ready on.
	standby  *standing // or nil; it ends with the state, or goes on as a kernel with the lease
	manifest envdir.Manifest
	seen     envdir.FileID    // the manifest's, when this daemon read or wrote it
	folder   *envdir.FolderID // nil on file systems that have no such thing
	measured measured
	finished time.Time // by this daemon, or zero
	added    *added    // by this daemon, or nil

	record sync.Mutex // held while the lease record is written; taken before the Manager's lock
}

func (m *Manager) newEnv(id string, p purpose) *env {
	return &env{id: id, dir: m.store.Env(id), log: m.log.With(zap.String("env", id)), purpose: p, since: time.Now()}
}

// purpose is what an environment is for. It changes when the environment is extended.
type purpose struct {
	pool  string // its key
	spec  builder.Spec
	hash  string
	needs *builder.Needs // nil in a base pool
}

// build is work on an environment: making it, extending it or checking it.
type build struct {
	check     bool // of a finished environment, after a boot or a failed extension
	keep      bool // its import check stays as a standby
	stuck     bool // a check that failed because of the machine
	notBefore time.Time
	stage     builder.Stage

	// Once it runs.
	started  time.Time
	turn     uint64 // the order in which builds were started
	slot     string // what it counts against; see startBuildsLocked
	cancel   context.CancelFunc
	canceled bool
}

func (b *build) running() bool { return b.cancel != nil }

// urgent builds are of derived pools, and somebody waits for them.
func (b *build) urgent() bool { return strings.HasSuffix(b.slot, derivedSlot) }

// extension is what an environment goes back to where it cannot be extended.
type extension struct {
	before  purpose
	written bool // all was added; what remains is the manifest
}

// tenancy is who has an environment.
type tenancy struct {
	waiter     *waiter       // while it is granted; nil once the lease is on disk
	lease      *envdir.Lease // nil while it is granted or reclaimed
	replies    int           // that may have told of the lease; with none it is reclaimed
	unwatch    func()        // ends the watch for the owner's end; may be nil
	orphanedAt time.Time     // when the owner was first seen to have ended, or zero
	user       proc.Process  // last seen to use it after that
}

func (t *tenancy) stopWatching() {
	if t.unwatch != nil {
		t.unwatch()
		t.unwatch = nil
	}
}

type removal struct {
	why     string
	owner   proc.Owner // of its last lease, or zero
	user    proc.Process
	retryAt time.Time
}

// moveLocked is the only place where a state changes. A move that is not in the table is a bug, and ends the daemon.
func (m *Manager) moveLocked(e *env, to State, why string) {
	if !slices.Contains(transitions[e.state], to) {
		panic(fmt.Sprintf("pool: %s cannot go from %q to %q", e.id, e.state, to))
	}
	now := time.Now()
	e.log.Debug("environment moves", zap.String("from", string(e.state)), zap.String("to", string(to)),
		zap.String("why", why), zap.Duration("after", now.Sub(e.since)))
	e.state, e.since, e.warned = to, now, ""
	e.build, e.extension = nil, nil
	if to == Removing {
		e.removal = removal{why: why, user: e.tenancy.user}
		if e.tenancy.lease != nil {
			e.removal.owner = e.tenancy.lease.Owner
		}
		m.effects.reap = true
	}
	switch {
	case to != Ready && to != Leased:
		m.endStandbyLocked(e, why)
	case to == Ready && e.standby != nil: // its answer told nobody of it
		e.standby.handed = time.Time{}
	}
	if to != Leased {
		e.tenancy.stopWatching()
		e.tenancy = tenancy{}
	}
	m.changedLocked()
}

// warnOnceLocked logs a warning that comes again and again.
func (e *env) warnOnceLocked(warning string, err error) {
	if e.warned != warning {
		e.warned = warning
		e.log.Warn(warning, zap.Error(err))
	}
}
