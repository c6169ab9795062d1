package zmtp

import (
	"bufio"
	"bytes"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Kind is the type of a socket.
type Kind string

// The types of sockets that are served.
const (
	Router Kind = "ROUTER"
	Rep    Kind = "REP"
	Pub    Kind = "PUB"
)

// peers are the types of sockets that each kind talks to.
var peers = map[Kind][]string{
	Router: {"DEALER", "REQ", "ROUTER"},
	Rep:    {"REQ", "DEALER"},
	Pub:    {"SUB", "XSUB"},
}

const maxConns = 256 // of one server; more are closed at once

// Server is one bound socket.
type Server struct {
	Kind Kind
	// Handle is called with each message of a peer, one after the other for each peer, and at once for several. A PUB
	// socket has none.
	Handle func(*Conn, Message)
	// Subscribed is called after a peer has begun to listen to what begins with prefix. May be nil.
	Subscribed func(c *Conn, prefix []byte)

	mu     sync.Mutex
	lns    []net.Listener
	conns  map[*Conn]struct{}
	closed bool
	work   sync.WaitGroup
}

// Serve accepts peers in the background until Close.
func (s *Server) Serve(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = ln.Close()
		return
	}
	s.lns = append(s.lns, ln)
	s.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.take(conn)
		}
	})
}

func (s *Server) take(conn net.Conn) {
	c := &Conn{conn: conn, r: bufio.NewReader(conn), kind: s.Kind}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConns {
		_ = conn.Close()
		return
	}
	if s.conns == nil {
		s.conns = map[*Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.work.Go(func() {
		s.serve(c)
		_ = conn.Close()
		s.forget(c)
	})
}

func (s *Server) serve(c *Conn) {
	if c.greet() != nil {
		return
	}
	for {
		m, err := c.message()
		switch {
		case err != nil:
			return
		case s.Kind == Pub:
			s.subscription(c, m)
		default:
			s.Handle(c, m)
		}
	}
}

const maxPrefixes = 64

// subscription reads what a SUB socket sends: 1 or 0, and the prefix to begin or end with.
func (s *Server) subscription(c *Conn, m Message) {
	if len(m) == 1 && len(m[0]) > 0 && c.subscribe(m[0][0], m[0][1:]) && s.Subscribed != nil {
		s.Subscribed(c, m[0][1:])
	}
}

func (c *Conn) subscribe(how byte, prefix []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch i := slices.IndexFunc(c.subscribed, func(p []byte) bool { return bytes.Equal(p, prefix) }); {
	case how == 1 && len(c.subscribed) < maxPrefixes:
		c.subscribed = append(c.subscribed, prefix)
		return true
	case how == 0 && i >= 0:
		c.subscribed = slices.Delete(c.subscribed, i, i+1)
	}
	return false
}

func (c *Conn) listensTo(topic []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.subscribed, func(p []byte) bool { return bytes.HasPrefix(topic, p) })
}

// Publish sends a message to all peers that listen to what its first frame begins with, and returns to how many.
func (s *Server) Publish(m Message) int {
	var n atomic.Int64
	var sending sync.WaitGroup
	for _, c := range s.peers() { // at once: each who does not read takes a while to be given up
		sending.Go(func() {
			if c.listensTo(m[0]) && c.Send(m) == nil {
				n.Add(1)
			}
		})
	}
	sending.Wait()
	return int(n.Load())
}

func (s *Server) peers() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Close disconnects all peers and waits until nothing runs any more. Neither Handle nor Subscribed may call it.
func (s *Server) Close() {
	s.disconnect()
	s.work.Wait()
}

func (s *Server) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, ln := range s.lns {
		_ = ln.Close()
	}
	for c := range s.conns {
		_ = c.conn.Close()
	}
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
