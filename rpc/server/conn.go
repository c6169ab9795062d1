package server

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sourcegraph/jsonrpc2"
	"go.uber.org/zap"

	"runtimed/rpc"
)

// Conn is one connection at the daemon's end. The library's reader goroutine parses messages, answers what is not
// a request, and starts requests or puts them in line; it never waits for a method. The writer alone writes to the
// socket, and so alone knows what has reached it. Each request that runs has a goroutine of its own.
//
// What they share is guarded by mu. Nothing blocks and no method runs while it is held.
type Conn struct {
	srv    *Server
	nc     net.Conn
	in     *framer // the reader's, but for wrap
	peer   rpc.Peer
	refuse *rpc.Error // of a surplus connection: the answer to its first message
	lib    *jsonrpc2.Conn

	ctx    context.Context // ends when the connection is closed
	cancel context.CancelFunc
	todo   []request // the reader's: the rest of the last message, and its batch
	group  *batch

	mu       sync.Mutex
	changed  sync.Cond
	calls    map[uint64]*call // not answered yet
	seq      uint64
	running  int
	line     []*call
	inLine   int // their cost
	batches  map[*batch]struct{}
	out      []frame
	unsent   int // bytes of out and of the frame being written
	held     int
	incoming int  // of held, for an incomplete message
	gone     bool // nothing is counted any more
	holds    int  // reasons to stay open for a peer that has closed its sending side
	eof      bool
	parting  bool // close our sending side when all is written
	closed   bool
}

func newConn(s *Server, nc net.Conn, peer rpc.Peer) *Conn {
	c := &Conn{
		srv: s, nc: nc, in: newFramer(nc), peer: peer,
		calls: map[uint64]*call{}, batches: map[*batch]struct{}{},
	}
	c.changed.L, c.in.hold = &c.mu, c.receive
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *Conn) serve() {
	c.start()
	c.write()
	<-c.lib.DisconnectNotify()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running > 0 {
		c.changed.Wait()
	}
	c.holdLocked(-c.held)
	c.gone = true
}

// start holds mu, so that the reader waits in callOf until lib is set.
func (c *Conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lib = newLibrary(c)
}

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.ctx }

// Hold keeps the connection open for a peer that has closed its sending side and got all its answers. The returned
// function ends that; it may be called more than once.
func (c *Conn) Hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.holds--
		c.settledLocked()
	})
}

// Notify sends a notification and never blocks. It returns false if nothing was sent: the connection is gone, or
// its peer does not read.
func (c *Conn) Notify(method string, params any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notifyLocked(method, params)
}

func (c *Conn) notifyLocked(method string, params any) bool {
	if c.closed || c.parting || c.fullLocked() {
		return false
	}
	body, err := encode(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
	if err != nil {
		c.srv.log.Error("a notification cannot be encoded", zap.String("method", method), zap.Error(err))
		return false
	}
	c.pushLocked(body, nil)
	return true
}

func (c *Conn) idleLocked() bool { return len(c.calls) == 0 && c.unsent == 0 }

func (c *Conn) settledLocked() {
	c.changed.Broadcast()
	if c.eof && c.idleLocked() && c.holds == 0 {
		c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes atEOF
	}
}

func (c *Conn) drained(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.idleLocked() && !c.closed && ctx.Err() == nil {
		c.changed.Wait()
	}
}

func (c *Conn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for _, waiting := range c.line {
		delete(c.calls, waiting.number)
	}
	c.line, c.inLine = nil, 0
	c.changed.Broadcast()
	c.cancel()
	c.nc.Close()
}

// atEOF is the reader's last act when the peer has closed its sending side. What was asked is still answered,
// until the peer closes the other side too.
func (c *Conn) atEOF() {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	for c.awaitsHangup() {
		if err := waitHangup(raw); !os.IsTimeout(err) {
			return
		}
	}
}

func (c *Conn) awaitsHangup() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eof = true
	if c.closed || c.idleLocked() && c.holds == 0 {
		return false
	}
	var wake time.Time
	if hangupTick > 0 {
		wake = time.Now().Add(hangupTick)
	}
	c.nc.SetReadDeadline(wake)
	return true
}

// part is the reader's last act after a fatal error. What still comes is read for a while, since a sender that
// gets EPIPE would not read the answer.
func (c *Conn) part() {
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.drainTime)
	defer cancel()
	c.startParting()
	if _, err := io.Copy(io.Discard, c.in.r); err == nil {
		c.drained(ctx)
	}
}

func (c *Conn) startParting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parting = true
	c.changed.Broadcast()
	c.nc.SetReadDeadline(time.Now().Add(c.srv.drainTime))
}
