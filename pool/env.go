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

// transitions are all moves of an environment; the package comment says what causes them.
var transitions = map[State][]State{
	unborn:    {Warming, Ready, Leased, Removing},
	Warming:   {Ready, Removing},
	Ready:     {Extending, Leased, Removing},
	Extending: {Ready, Removing},
	Leased:    {Leased, Ready, Removing},
}

// env is one environment. The lock guards all but id, dir and record.
type env struct {
	id  string
	dir string
	purpose

	state State // changed by moveLocked only
	since time.Time

	build     *build     // while warming; while extending, from when its lease record says that nobody else may have it
	extension *extension // while extending
	tenancy   *tenancy   // while leased
	removal   *removal   // while removing

	// From ready on.
	manifest envdir.Manifest
	seen     envdir.FileID    // of the manifest, when this daemon read or wrote it
	folder   *envdir.FolderID // that this daemon made or found; nil where folders have nothing to be known by
	measured measured
	finished time.Time // by this daemon; zero where it was found on disk
	added    *added    // when this daemon extended it; nil where it made all of it

	record sync.Mutex // held while the lease record is written; taken before the Manager's lock
}

// purpose is what an environment is for. It changes when the environment is extended.
type purpose struct {
	pool  string // the key of its pool
	spec  builder.Spec
	hash  string
	needs *builder.Needs // beyond what the base pool has; nil for one of the base pool itself
}

// build is work on an environment that waits for its turn or runs: making it, extending it or checking it.
type build struct {
	check     bool // of a finished environment, after a boot or a failed extension
	stuck     bool // the machine was in the way of the check, which is tried again
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

// urgent says whether it runs for somebody who waits for more than a base pool has.
func (b *build) urgent() bool { return strings.HasSuffix(b.slot, derivedSlot) }

// extension is what an environment was before it was extended.
type extension struct {
	before  purpose
	written bool // all was added, and the folder is being made to say so
}

// tenancy is who has an environment.
type tenancy struct {
	waiter     *waiter       // whom it is being granted to; nil once the lease is on disk
	lease      *envdir.Lease // nil until then, and while it is reclaimed
	replies    int           // that may have told somebody of the lease; with none it is reclaimed
	unwatch    func()        // ends the watch for the end of the owner; may be nil
	orphanedAt time.Time     // when the owner was first seen to have ended; zero while it is not
	user       proc.Process  // the process last seen to use it after that
	stuck      bool          // the lease could not be ended, and that was logged
}

func (t *tenancy) stopWatching() {
	if t != nil && t.unwatch != nil {
		t.unwatch()
		t.unwatch = nil
	}
}

// removal is why an environment goes, and what may still be in the way.
type removal struct {
	why     string
	owner   proc.Owner // of its last lease; zero where it had none
	user    proc.Process
	stuck   bool // its folder could not be moved, and that was logged
	retryAt time.Time
}

// lease is nil unless one is on disk.
func (e *env) lease() *envdir.Lease {
	if e.tenancy == nil {
		return nil
	}
	return e.tenancy.lease
}

// grantedTo is the waiter whose lease is being written, or nil.
func (e *env) grantedTo() *waiter {
	if e.tenancy == nil {
		return nil
	}
	return e.tenancy.waiter
}

// moveLocked is the only place where a state changes. A move that is not in the table is a bug, and ends the daemon.
func (m *Manager) moveLocked(e *env, to State, why string) {
	if !slices.Contains(transitions[e.state], to) {
		panic(fmt.Sprintf("pool: %s cannot go from %q to %q", e.id, e.state, to))
	}
	now := time.Now()
	m.log.Debug("environment moves", zap.String("env", e.id), zap.String("from", string(e.state)),
		zap.String("to", string(to)), zap.String("why", why), zap.Duration("after", now.Sub(e.since)))
	last := e.tenancy
	e.state, e.since = to, now
	e.build, e.extension = nil, nil
	switch {
	case to != Leased:
		last.stopWatching()
		e.tenancy = nil
	case last == nil:
		e.tenancy = &tenancy{}
	}
	if to == Removing {
		e.removal = &removal{why: why}
		if last != nil && last.lease != nil {
			e.removal.owner, e.removal.user = last.lease.Owner, last.user
		}
		m.effects.reap = true
	}
	m.changedLocked()
}
