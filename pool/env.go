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

// The states; see the package comment for the moves between them.
const (
	Warming  State = "warming"
	Ready    State = "ready"
	Leased   State = "leased"
	Removing State = "removing"
)

var moves = map[State][]State{
	Warming: {Ready, Removing},
	Ready:   {Leased, Removing},
	Leased:  {Removing, Ready},
}

// env is one environment. Manager.mu guards all but record.
type env struct {
	id   string
	pool string // the key of its pool; see homeOf
	spec builder.Spec
	hash string
	dir  string

	state State     // changed by Manager.move only
	since time.Time // of the state

	// while warming
	started   bool      // the build runs; else it waits for its turn
	began     time.Time // when it was started
	slot      string    // beside builds of another one it does not count
	turn      uint64    // the order in which builds were started
	notBefore time.Time // a pause behind an acquire
	cancel    context.CancelFunc
	dropped   bool // its build is being ended
	stage     builder.Stage
	needs     *builder.Needs // what it is to have beyond its pool's; nil for one of the pool itself
	recheck   bool           // it is finished, and is verified after a boot, or after it could not be extended
	spoilt    bool           // the latter: its lease record says that nobody is to have it

	// from ready on
	finished time.Time // by this daemon; zero where it was found
	manifest envdir.Manifest
	seen     envdir.FileID    // of the manifest, when this daemon read or wrote it
	folder   *envdir.FolderID // that this daemon made or found; nil before, and where folders have nothing to be known by
	measured measured

	// while leased
	granting *waiter       // whom it is being handed to; nil once the lease is on disk
	built    bool          // while that one waited
	more     *added        // what the build of this daemon added to a ready environment; nil where it made all of it
	lease    *envdir.Lease // nil until the record is on disk
	replies  int           // that may have told somebody of this lease; with none it is taken back
	user     proc.Process  // the process last seen to use it after its owner ended
	unwatch  func()        // ends the watch for the end of the owner; nil where there is none

	orphan     *envdir.Lease // the one that lingers, its owner having ended
	orphanedAt time.Time     // when this daemon first saw that

	// while removing
	tenant  proc.Owner // of its last lease; zero where it had none
	why     string
	stuck   bool // its lease record could not be written, its folder not be moved, or it not be looked through; said once
	retryAt time.Time

	// record is held while the lease record is written, and before Manager.mu where both are.
	record sync.Mutex
}

// urgent says whether it is built for somebody who waits for more than a pool gives.
func (e *env) urgent() bool { return strings.HasSuffix(e.slot, derivedSlot) }

// move is the only place where a state changes. An edge that the package comment does not show is a fault in this program.
func (m *Manager) move(e *env, to State, why string) {
	if !slices.Contains(moves[e.state], to) {
		panic(fmt.Sprintf("pool: %s cannot go from %s to %s", e.id, e.state, to))
	}
	now := time.Now()
	m.log.Debug("environment moves", zap.String("env", e.id), zap.String("from", string(e.state)), zap.String("to", string(to)),
		zap.String("why", why), zap.Duration("after", now.Sub(e.since)))
	e.state, e.since, e.why = to, now, why
	if to != Leased {
		if e.lease != nil && to == Removing {
			e.tenant = e.lease.Owner
		}
		e.lease, e.replies = nil, 0
		if e.unwatch != nil {
			e.unwatch()
			e.unwatch = nil
		}
	}
	if to == Removing {
		m.reapSoon()
	}
	m.changed()
}
