package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/launch"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/standby"
)

const (
	orderTime    = 10 * time.Second // for the order to a standby that was handed out
	standbyPause = time.Minute      // after a standby that could not be had, twice as long after each that follows
	longestPause = time.Hour
	scarcePause  = 5 * time.Minute // after memory was short: the standbys themselves may have made it so
)

// standing is the standby kernel of an environment, from its start until it is a kernel or ends.
type standing struct {
	cancel   context.CancelFunc // of its start; nil if a build's check stayed
	process  builder.Process    // nil until it has passed the check
	socket   string
	listener *net.UnixListener  // until the process has it
	wanted   map[string]*string // what it was started with, besides the variables of builds
	stays    time.Time          // since it imports its modules, or waits
	ready    bool               // it waits for its order
	handed   time.Time          // when a grant told of it, or zero
}

// usable says whether an order would be carried out at once.
func (s *standing) usable(p *pool) bool {
	return s != nil && s.process != nil && s.handed.IsZero() && (s.ready || len(p.cfg.Preload) == 0)
}

// rank orders environments by what an acquire that has a use for a standby loses with each, or one that has none.
func (s *standing) rank(p *pool, wanted bool) int {
	switch {
	case wanted && s.usable(p), !wanted && s == nil:
		return 0
	case s == nil, !wanted && !s.usable(p): // it is still being started
		return 1
	}
	return 2
}

// Standby is a standby kernel that an acquire was given.
type Standby struct {
	PID    int
	Socket string
}

// StandbyStatus is how a pool's standby kernels are.
type StandbyStatus struct {
	Target int // of the ready environments
	Ready  int
	Why    string   // there are fewer, or the last caller got none; empty: they are being started, or all is well
	Faults []string // modules that could not be imported ahead
}

// standbys is what a pool knows of its standby kernels.
type standbys struct {
	wanted   map[string]*string // variables that the last caller would have had them started with
	faults   []string           // of the other modules of preload
	without  map[string]string  // modules of preload that are left out, and why
	refused  string             // why the last caller could not have one
	failed   string             // why the last one could not be had
	failures int                // since the last one that was ready
	next     time.Time          // none is started before
}

// standbyLocked is how many standbys p is to have now, and why it has fewer than configured.
func (m *Manager) standbyLocked(p *pool, now time.Time) (n int, why string) {
	switch {
	case p.cfg.Size == 0:
		return 0, ""
	case m.cfg.Sockets == "":
		return 0, "this system has none"
	case statedir.CheckStandbys(m.cfg.Sockets) != nil:
		return 0, statedir.CheckStandbys(m.cfg.Sockets).Error()
	case launch.BatchJob(os.Getenv) != "":
		return 0, "the daemon is part of a batch job, whose kernels are never standby kernels"
	case m.noStandby != "":
		return 0, m.noStandby
	case m.cfg.StandbyIdle > 0 && m.watching == 0 && now.Sub(m.lastNeed) > m.cfg.StandbyIdle:
		return 0, fmt.Sprintf("nobody has asked for an environment for %s (standby_idle)", m.cfg.StandbyIdle)
	case now.Before(p.standbys.next):
		return p.cfg.Standby, p.standbys.failed // those that there are stay
	}
	return p.cfg.Standby, ""
}

// saveMemoryLocked keeps standbys away while memory is short, and returns when they may come back.
func (m *Manager) saveMemoryLocked(short string, now time.Time) (next time.Time) {
	again := m.scarce.Add(scarcePause)
	switch {
	case short != "":
		m.noStandby, m.scarce = short, now
	case !now.Before(again):
		m.noStandby = ""
	default:
		m.noStandby, next = "memory was short in the last minutes", again
	}
	return next
}

// planStandbysLocked starts and ends the standbys of p, and returns when time alone changes something.
func (m *Manager) planStandbysLocked(p *pool, now time.Time) (next time.Time) {
	n, _ := m.standbyLocked(p, now)
	var have, free []*env
	for _, e := range m.envs {
		switch s := e.standby; {
		case e.pool != p.cfg.Name || s != nil && !s.handed.IsZero():
		case e.state == Ready && s != nil && (e.hash != p.hash || m.noStandby != ""):
			m.endStandbyLocked(e, "it is not wanted any more")
		case s != nil || e.build != nil && e.build.keep:
			have = append(have, e)
		case e.state == Ready && e.hash == p.hash:
			free = append(free, e)
		}
	}
	for _, e := range have[min(n, len(have)):] {
		if e.standby != nil {
			m.endStandbyLocked(e, "more than the pool needs")
		}
	}
	begin := m.lastGrant.Add(refillPause) // not beside the kernel that starts then
	if p.standbys.next.After(begin) {
		begin = p.standbys.next
	}
	if n > len(have) && len(free) > 0 && now.Before(begin) {
		return begin
	}
	slices.SortFunc(free, byAge)
	for _, e := range free[:max(0, min(n-len(have), len(free)))] {
		m.startStandbyLocked(p, e)
	}
	return time.Time{}
}

// endLateStandbysLocked ends the standbys that got no order in time, or hang in an import, and returns when the next
// one will be late.
func (m *Manager) endLateStandbysLocked(now time.Time) (next time.Time) {
	for _, e := range m.envs {
		s := e.standby
		if s == nil || s.process == nil {
			continue
		}
		imported := s.stays.Add(m.cfg.BuildTimeout)
		switch ordered := s.handed.Add(orderTime); {
		case !s.handed.IsZero() && now.Before(ordered):
			next = earlier(next, ordered)
		case !s.handed.IsZero():
			m.endStandbyLocked(e, "it got no order")
		case s.ready:
		case now.Before(imported):
			next = earlier(next, imported)
		default:
			m.endStandbyLocked(e, "it hangs in an import")
			m.standbyFailedLocked(m.pools[e.pool], e, fmt.Errorf("the modules of preload were not imported within %s",
				m.cfg.BuildTimeout))
		}
	}
	return next
}

// keepsLocked says whether the import check of a build of p is to stay as a standby. A caller's variables must not
// decide whether an environment is whole.
func (m *Manager) keepsLocked(p *pool, now time.Time) bool {
	if p == nil || m.closed || now.Before(p.standbys.next) || len(p.standbys.wanted) > 0 {
		return false
	}
	n, _ := m.standbyLocked(p, now)
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && (e.standby != nil && e.standby.handed.IsZero() || e.build != nil && e.build.keep) {
			n--
		}
	}
	return n > 0
}

// startStandbyLocked starts a standby in a ready environment.
func (m *Manager) startStandbyLocked(p *pool, e *env) {
	with := m.builders[e.spec.Kind]
	if with == nil || !m.enterLocked() {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.BuildTimeout)
	s := &standing{cancel: cancel}
	e.standby = s
	kept, built, dir := &builder.Kept{Wanted: p.standbys.wanted}, e.manifest.Built(), e.dir
	go func() {
		defer m.work.Done()
		defer cancel()
		err := with.Standby(builder.Keep(ctx, kept), built, dir)
		arrived, err := m.standbyFrom(e, kept, err)
		m.update(func() {
			switch {
			case e.standby != s:
				m.dropLocked(arrived)
			case err != nil:
				e.standby = nil
				m.dropLocked(arrived)
				m.standbyFailedLocked(m.pools[e.pool], e, err)
			default:
				m.standLocked(e, arrived)
			}
		})
	}()
}

// standbyFrom opens the socket of a process that has passed the check, if there is one. err is that of the check.
func (m *Manager) standbyFrom(e *env, kept *builder.Kept, err error) (*standing, error) {
	if kept == nil {
		return nil, err
	}
	process := kept.Take()
	if process == nil || err != nil {
		return &standing{process: process}, err
	}
	s := &standing{process: process, wanted: kept.Wanted}
	m.view(func() { s.socket = filepath.Join(m.cfg.Sockets, statedir.StandbyName(e.id)) })
	if s.listener, err = standby.Listen(s.socket); err != nil {
		s.socket = "" // what is there is not ours
	}
	return s, err
}

// standLocked makes s the standby of e: its process waits for an order.
func (m *Manager) standLocked(e *env, s *standing) {
	p := m.pools[e.pool]
	if s == nil || s.process == nil || s.listener == nil || p == nil || m.closed {
		m.dropLocked(s)
		return
	}
	e.standby, s.stays = s, time.Now()
	listener := s.listener
	s.listener = nil
	modules := slices.DeleteFunc(slices.Clone(p.cfg.Preload), func(name string) bool {
		return p.standbys.without[name] != ""
	})
	err := s.process.Stay(listener, s.socket, modules, func(event standby.Event) { m.standbyTold(e, s, event) })
	if err != nil {
		m.endStandbyLocked(e, err.Error())
		m.standbyFailedLocked(p, e, err)
	}
	m.changedLocked()
}

// dropLocked ends a standby that no environment has. s may be nil.
func (m *Manager) dropLocked(s *standing) {
	if s != nil {
		m.effects.ended = append(m.effects.ended, s)
	}
}

func (m *Manager) standbyFailedLocked(p *pool, e *env, err error) {
	if p == nil || m.ctx.Err() != nil {
		return
	}
	why := redact.Text(err.Error())
	if why != p.standbys.failed {
		e.log.Warn("a standby kernel cannot be had; kernels start as without one", zap.Error(err))
	}
	pause := min(standbyPause<<min(p.standbys.failures, 10), longestPause)
	p.standbys.failures++
	p.standbys.wanted = nil // they may be the reason
	p.standbys.failed, p.standbys.next = why, time.Now().Add(pause)
	m.changedLocked()
}

// standbyTold takes an event of the standby s of e.
func (m *Manager) standbyTold(e *env, s *standing, event standby.Event) {
	adopted := false
	m.update(func() {
		m.changedLocked()
		p := m.pools[e.pool]
		mine := e.standby == s
		switch {
		case event.Ready:
			s.ready = true
			if p != nil {
				p.standbys.failures = 0
				m.preloadedLocked(p, event.Faults)
			}
		case event.Adopted:
			adopted = mine
			e.standby = nil
			if p != nil {
				p.standbys.refused = ""
			}
		case event.Refused != "":
			e.log.Debug("a caller could not have the standby kernel", zap.String("why", event.Refused))
			if p != nil {
				p.standbys.refused = event.Refused
				if len(event.Wanted) > 0 { // what differs from this one
					p.standbys.wanted = map[string]*string{}
					maps.Copy(p.standbys.wanted, s.wanted)
					maps.Copy(p.standbys.wanted, event.Wanted)
				}
			}
		case event.Without != "" && p != nil && mine: // the next one does without
			e.standby = nil
			if p.standbys.without == nil {
				p.standbys.without = map[string]string{}
			}
			why := strings.Join(event.Faults, "; ")
			p.standbys.without[event.Without] = why
			m.log.Warn("a module of preload is left out", zap.String("pool", p.cfg.Name), zap.String("why", why))
			_ = statedir.RemoveStandby(s.socket)
		case event.Ended:
			if !mine {
				return
			}
			e.standby = nil
			_ = statedir.RemoveStandby(s.socket)
			if s.handed.IsZero() {
				m.standbyFailedLocked(p, e, errors.New("it ended by itself: "+
					cmp.Or(builder.LastLine(event.Output), "it said nothing")))
			}
		}
	})
	if adopted {
		// It is its own owner now, as after a plain start.
		if _, err := m.Adopt(m.ctx, e.id, s.process.PID()); err != nil && !errors.Is(err, ErrUnknownEnv) {
			e.log.Debug("the lease stays with who acquired it", zap.Error(err))
		}
	}
}

func (m *Manager) preloadedLocked(p *pool, faults []string) {
	if p == nil {
		return
	}
	if !slices.Equal(p.standbys.faults, faults) && len(faults) > 0 {
		m.log.Warn("modules of preload cannot be imported ahead", zap.String("pool", p.cfg.Name),
			zap.Strings("why", faults))
	}
	p.standbys.faults = faults
}

// endStandbyLocked ends the standby of e, if it has one.
func (m *Manager) endStandbyLocked(e *env, why string) {
	s := e.standby
	if s == nil {
		return
	}
	e.standby = nil
	e.log.Debug("standby kernel is ended", zap.String("why", why))
	m.dropLocked(s)
}

// end ends the process of a standby that no environment has any more.
func (s *standing) end() {
	if s.cancel != nil {
		s.cancel()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.process != nil {
		s.process.End()
	}
	if s.socket != "" {
		_ = statedir.RemoveStandby(s.socket) // what stays is dead, and the next start removes it
	}
}

// endStandbysLocked ends the standbys of a pool that were told of nobody.
func (m *Manager) endStandbysLocked(p *pool, why string) {
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.standby != nil && e.standby.handed.IsZero() {
			m.endStandbyLocked(e, why)
		}
	}
}

func (m *Manager) neededLocked() {
	if now := time.Now(); m.cfg.StandbyIdle > 0 {
		if now.Sub(m.lastNeed) > m.cfg.StandbyIdle {
			m.changedLocked() // they come back
		}
		m.lastNeed = now
	}
}

// handOutLocked gives the standby of e to the waiter that e is granted to, or ends it.
func (m *Manager) handOutLocked(p *pool, e *env, w *waiter) {
	switch {
	case w.Standby && e.standby.usable(p):
		e.standby.handed = time.Now()
		return
	case w.Standby && e.standby != nil:
		e.log.Debug("a caller gets no standby kernel: it is still being started")
	case w.Standby:
		_, why := m.standbyLocked(p, time.Now())
		e.log.Debug("a caller gets no standby kernel: the environment has none", zap.String("why", why))
	}
	m.endStandbyLocked(e, "its environment was acquired")
}

// standbyOfLocked is what the answer to a grant of e tells of its standby.
func (e *env) standbyOfLocked() *Standby {
	if s := e.standby; s != nil && !s.handed.IsZero() {
		return &Standby{s.process.PID(), s.socket}
	}
	return nil
}

func (m *Manager) standbyStatusLocked(p *pool) (s StandbyStatus) {
	if s.Target = min(p.cfg.Standby, p.cfg.Size); s.Target == 0 {
		return s
	}
	s.Faults = slices.Concat(slices.Sorted(maps.Values(p.standbys.without)), p.standbys.faults)
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.state == Ready && e.standby != nil && e.standby.ready {
			s.Ready++
		}
	}
	if s.Ready < s.Target {
		_, s.Why = m.standbyLocked(p, time.Now())
	}
	if s.Why == "" && p.standbys.refused != "" {
		s.Why = "the last caller could not have one: " + p.standbys.refused
	}
	return s
}
