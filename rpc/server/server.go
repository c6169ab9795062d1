// Package server is the daemon's end of the wire: it serves a table of methods on any number of connections.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sourcegraph/jsonrpc2"
	"go.uber.org/zap"

	"runtimed/rpc"
)

const (
	drainTime    = time.Second      // what comes after a fatal error is thrown away so long
	silenceTime  = time.Second      // what a surplus connection has for its first message
	lateTime     = time.Second      // what methods have to end after their connection is closed, at a stop
	maxAdmitting = 64               // connections that are accepted and not yet counted
	maxSurplus   = 32               // surplus connections that get an answer at once; more are closed without
	spareFiles   = 128              // descriptors kept for everything but connections
	tellAgain    = 10 * time.Minute // the same trouble with a caller is not logged more often
)

// Options are what a Server can be told besides its methods.
type Options struct {
	Log            *zap.Logger // nil: none
	Version        string      // of the daemon, for rpc.discover
	UID            int         // who may connect, besides root
	MaxConnections int         // 0: the contract's limit, or less where the descriptor limit is low
}

// Server answers the methods of a table on any number of connections.
type Server struct {
	methods   map[string]Method
	uid, most int
	log       *zap.Logger

	writeTime, drainTime, silenceTime time.Duration // shorter in tests
	lineBytes, batchBytes, maxHeld    int           // less in tests

	held atomic.Int64 // bytes kept for all connections

	stopping atomic.Bool // new requests are refused
	served   sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	surplus   int
	closing   bool // no connection is served any more
	told      time.Time
}

// New makes a server of a table of methods, and adds rpc.discover to them. Two methods of one name are a fault of the program.
func New(methods []Method, opts Options) *Server {
	s := &Server{
		methods: map[string]Method{}, uid: opts.UID, most: opts.MaxConnections, log: opts.Log,
		writeTime: rpc.WriteTimeout, drainTime: drainTime, silenceTime: silenceTime,
		lineBytes: maxLineBytes, batchBytes: maxBatchBytes, maxHeld: rpc.MaxHeld,
		listeners: map[net.Listener]struct{}{}, conns: map[*Conn]struct{}{},
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.most == 0 {
		s.most = max(8, min(rpc.MaxConnections, descriptorLimit()-spareFiles))
	}
	for _, m := range append(methods[:len(methods):len(methods)], discover(methods, opts.Version)) {
		if _, twice := s.methods[m.Name]; twice {
			panic("rpc: method " + m.Name + " is there twice")
		}
		s.methods[m.Name] = m
	}
	return s
}

// Connections is how many are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) - s.surplus
}

// Serve accepts connections until Shutdown, which makes it return nil. While descriptors are short it waits, and says so once.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.stopping.Load() {
		s.mu.Unlock()
		return ln.Close()
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()

	var pause time.Duration
	admitted := make(chan struct{}, maxAdmitting)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			if pause > 0 {
				s.log.Info("connections are accepted again")
			}
			pause = 0
			admitted <- struct{}{} // who comes faster waits in the system's queue, and takes no memory of ours
			go func() {
				c := s.admit(nc)
				<-admitted
				if c != nil {
					s.serve(c)
				}
			}()
		case s.stopping.Load():
			return nil
		case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR):
		case shortage(err):
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

// admit asks the kernel who connects before a word is read. It returns nil where it has closed the connection.
func (s *Server) admit(nc net.Conn) *Conn {
	peer, err := rpc.PeerOf(nc)
	if err == nil && rpc.Trusts(s.uid, peer.UID) {
		return s.enter(nc, peer)
	}
	nc.Close()
	if s.mayLogRefusal() {
		s.log.Warn("a connection of another user was refused", zap.Int("uid", peer.UID), zap.Int("pid", peer.PID), zap.Error(err))
	}
	return nil
}

// mayLogRefusal is true once in a while, so that a caller who tries again and again does not fill the log.
func (s *Server) mayLogRefusal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.told.IsZero() && time.Since(s.told) < tellAgain {
		return false
	}
	s.told = time.Now()
	return true
}

// ServeConn serves one connection, and returns when it is closed and its methods have ended.
func (s *Server) ServeConn(nc net.Conn, peer rpc.Peer) {
	if c := s.enter(nc, peer); c != nil {
		s.serve(c)
	}
}

// enter counts a connection, or closes it where there are too many and returns nil.
func (s *Server) enter(nc net.Conn, peer rpc.Peer) *Conn {
	c := newConn(s, nc, peer)
	if !s.add(c) {
		nc.Close()
		return nil
	}
	return c
}

func (s *Server) serve(c *Conn) {
	defer s.remove(c)
	if c.refuse != nil {
		c.nc.SetReadDeadline(time.Now().Add(s.silenceTime))
	}
	c.mu.Lock() // Handle, on the goroutine that this starts, waits for lib to be there
	c.lib = jsonrpc2.NewConn(c.ctx, stream{c}, stream{c}, jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	c.mu.Unlock()
	c.write()
	<-c.lib.DisconnectNotify()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running > 0 {
		c.changed.Wait()
	}
	c.letGo()
}

func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	if len(s.conns)-s.surplus >= s.most {
		if s.surplus >= maxSurplus {
			return false
		}
		s.surplus++
		c.refuse = rpc.Errorf(rpc.KindOverloaded, "the daemon has %d connections already", s.most).WithHint("close some, and try again")
	}
	s.conns[c] = struct{}{}
	s.served.Add(1)
	return true
}

func (s *Server) remove(c *Conn) {
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
	var conns []*Conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Shutdown stops the server: the listeners are closed, new requests are refused as shutting_down, the running ones end by
// themselves and their answers are written, until ctx ends; then all connections are closed. It returns an error where something was cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	for ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()

	for _, c := range s.open() {
		c.drained(ctx)
	}
	cut := ctx.Err()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
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
