package zmtp

import (
	"bufio"
	"bytes"
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

func (k Kind) talksTo(peer string) bool {
	switch k {
	case Router:
		return peer == "DEALER" || peer == "REQ" || peer == "ROUTER"
	case Rep:
		return peer == "REQ" || peer == "DEALER"
	}
	return peer == "SUB" || peer == "XSUB"
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
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	})
}

// serve reads until the peer leaves or breaks the protocol.
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

// maxPrefixes is how many subscriptions of a peer count.
const maxPrefixes = 64

// subscription reads what a SUB socket sends: 1 or 0, and the prefix to begin or end with.
func (s *Server) subscription(c *Conn, m Message) {
	if len(m) != 1 || len(m[0]) == 0 {
		return
	}
	prefix := m[0][1:]
	c.mu.Lock()
	begins := m[0][0] == 1 && len(c.subscribed) < maxPrefixes
	if begins {
		c.subscribed = append(c.subscribed, prefix)
	} else if i := slices.IndexFunc(c.subscribed,
		func(p []byte) bool { return bytes.Equal(p, prefix) }); m[0][0] == 0 && i >= 0 {
		c.subscribed = slices.Delete(c.subscribed, i, i+1)
	}
	c.mu.Unlock()
	if begins && s.Subscribed != nil {
		s.Subscribed(c, prefix)
	}
}

// Publish sends a message to all peers that listen to what its first frame begins with, and returns to how many.
func (s *Server) Publish(m Message) int {
	s.mu.Lock()
	var to []*Conn
	for c := range s.conns {
		c.mu.Lock()
		if len(m) > 0 && slices.ContainsFunc(c.subscribed, func(p []byte) bool { return bytes.HasPrefix(m[0], p) }) {
			to = append(to, c)
		}
		c.mu.Unlock()
	}
	s.mu.Unlock()
	var n atomic.Int64
	var sending sync.WaitGroup
	for _, c := range to { // at once, since each who does not read takes a while to be given up
		sending.Go(func() {
			if c.Send(m) == nil {
				n.Add(1)
			}
		})
	}
	sending.Wait()
	return int(n.Load())
}

// Close disconnects all and returns when nothing runs any more. It must not be called by Handle or Subscribed.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, ln := range s.lns {
		_ = ln.Close()
	}
	for c := range s.conns {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}
