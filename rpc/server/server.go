// Package server is the daemon's end of the wire.
package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/safefile"
	"runtimed/rpc"
)

const (
	drainTime     = time.Second      // how long input after a fatal error is thrown away
	silenceTime   = time.Second      // how long a surplus connection has for its first message
	lateTime      = time.Second      // how long methods have to end after their connection is closed, at a stop
	maxAdmitting  = 64               // accepted and not yet counted
	maxSurplus    = 32               // surplus connections that get an answer at once; more are closed without
	spareFiles    = 128              // descriptors kept for everything but connections
	refusalEvery  = 10 * time.Minute // how often refused users are logged at most
	maxLineBytes  = 16 << 20         // of one connection
	maxBatchBytes = 16 << 20
)

// Server answers methods on any number of connections.
type Server struct {
	methods map[string]Method
	log     *zap.Logger

	// less in tests
	drainTime, silenceTime         time.Duration
	mostConns                      int
	lineBytes, batchBytes, maxHeld int

	held     atomic.Int64 // bytes kept for all connections
	stopping atomic.Bool
	served   sync.WaitGroup

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*Conn]struct{}
	surplus   int
	closing   bool
	refusal   time.Time
}

// New returns a server of methods and of rpc.discover, for our own user and root. It panics if a method is there
// twice.
func New(methods []Method, log *zap.Logger) *Server {
	s := &Server{
		methods: map[string]Method{}, log: log, conns: map[*Conn]struct{}{},
		drainTime: drainTime, silenceTime: silenceTime,
		mostConns: max(8, min(rpc.MaxConnections, descriptorLimit()-spareFiles)),
		lineBytes: maxLineBytes, batchBytes: maxBatchBytes, maxHeld: rpc.MaxHeld,
	}
	for _, m := range append(methods[:len(methods):len(methods)], discover(methods)) {
		if _, twice := s.methods[m.Name]; twice {
			panic("rpc: method " + m.Name + " is there twice")
		}
		s.methods[m.Name] = m
	}
	return s
}

func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) - s.surplus
}

// Serve accepts connections until Shutdown, after which it returns nil. If descriptors are short it waits, and logs
// that once.
func (s *Server) Serve(ln net.Listener) error {
	if !s.listen(ln) {
		return ln.Close()
	}
	var pause time.Duration
	admitted := make(chan struct{}, maxAdmitting) // more wait in the system's queue
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			if pause > 0 {
				s.log.Info("connections are accepted again")
			}
			pause = 0
			admitted <- struct{}{}
			go func() {
				c := s.admit(nc)
				<-admitted
				s.serve(c)
			}()
		case s.stopping.Load():
			return nil
		case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR):
		case safefile.IsShort(err):
			if pause == 0 {
				s.log.Warn("no connection can be accepted for now", zap.Error(err), zap.Int("open", s.Connections()))
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		default:
			return fmt.Errorf("accepting connections: %w", err)
		}
	}
}

func (s *Server) listen(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, ln)
	return !s.stopping.Load()
}

// admit asks the kernel who connects before a word is read.
func (s *Server) admit(nc net.Conn) *Conn {
	peer, err := rpc.PeerOf(nc)
	if err == nil && rpc.Trusts(os.Getuid(), peer.UID) {
		return s.enter(nc, peer)
	}
	nc.Close()
	if s.logsRefusal() {
		s.log.Warn("a connection of another user was refused",
			zap.Int("uid", peer.UID), zap.Int("pid", peer.PID), zap.Error(err))
	}
	return nil
}

// logsRefusal is true now and then, so that nobody fills the log.
func (s *Server) logsRefusal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refusal.IsZero() && time.Since(s.refusal) < refusalEvery {
		return false
	}
	s.refusal = time.Now()
	return true
}

// enter returns nil and closes the connection if there are far too many.
func (s *Server) enter(nc net.Conn, peer rpc.Peer) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newConn(s, nc, peer)
	switch full := len(s.conns)-s.surplus >= s.mostConns; {
	case s.closing, full && s.surplus >= maxSurplus:
		nc.Close()
		return nil
	case full:
		s.surplus++
		c.refuse = rpc.Errorf(rpc.KindOverloaded, "the daemon has %d connections already", s.mostConns).
			WithHint("close some, and try again")
	}
	s.conns[c] = struct{}{}
	s.served.Add(1)
	return c
}

// serve returns when c is closed and its methods have ended. A nil c has been closed already.
func (s *Server) serve(c *Conn) {
	if c == nil {
		return
	}
	defer s.leave(c)
	if c.refuse != nil {
		c.nc.SetReadDeadline(time.Now().Add(s.silenceTime))
	}
	c.serve()
}

func (s *Server) leave(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.refuse != nil {
		s.surplus--
	}
	s.served.Done()
}

func (s *Server) open() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Shutdown closes the listeners and refuses new requests. Requests that run are answered, until ctx ends; then all
// connections are closed. The error says that something was cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	for _, c := range s.open() {
		c.drained(ctx)
	}
	cut := ctx.Err()
	s.serveNoMore()
	for _, c := range s.open() {
		c.shut()
	}
	ended := make(chan struct{})
	go func() { s.served.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(lateTime):
		return errors.New("stopping the server: a method does not end")
	}
	if cut != nil {
		return fmt.Errorf("stopping the server: calls were cut off: %w", cut)
	}
	return nil
}

func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	for _, ln := range s.listeners {
		ln.Close()
	}
}

func (s *Server) serveNoMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}
