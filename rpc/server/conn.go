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

// Conn is one connection at the daemon's end. Three goroutines serve it, besides one for each request that runs:
//
//   - the reader, which is the library's: ReadObject cuts and checks messages, answers what is no request, handles
//     $/cancelRequest, and starts requests or puts them in line; it never waits for a method
//   - the writer (write), which alone writes to the socket, and so alone knows what has reached it
//   - the library's own, which closes the connection when its context ends
//
// Everything they share is guarded by mu. Nothing blocks and no foreign code runs while it is held.
type Conn struct {
	srv    *Server
	nc     net.Conn
	in     *framer // the reader's, except that wrap is anybody's once a message has been read
	peer   rpc.Peer
	refuse *rpc.Error // set on a surplus connection: the answer to its first message, and its end
	log    *zap.Logger
	lib    *jsonrpc2.Conn // set once, under mu

	ctx    context.Context // ends when the connection is closed
	cancel context.CancelFunc
	todo   []request // the reader's: what is left of the message read last
	group  *batch    // the reader's: the batch those belong to

	mu       sync.Mutex
	changed  sync.Cond        // signals any change of the fields below that somebody may wait for
	calls    map[uint64]*call // registered, and not answered yet
	seq      uint64
	running  int
	line     []*call // waiting to run, first come first served
	inLine   int     // what they cost
	batches  map[*batch]struct{}
	out      []frame // to be written, in this order
	unsent   int     // bytes of out, and of the frame being written
	held     int     // bytes kept for the connection in all
	gone     bool    // nothing is counted any more
	incoming int     // of those, of a message that is not complete
	holds    int     // reasons to stay open for a peer that has closed its sending side
	eof      bool    // nothing more will be read
	parting  bool    // after a fatal error: close our sending side when all is written
	closed   bool
}

// maxLineBytes bounds the requests that wait in line, and maxBatchBytes the answers of one batch, which wait for the last of them.
// Both are far beyond what sensible use comes to.
const (
	maxLineBytes  = 16 << 20
	maxBatchBytes = 16 << 20
)

func newConn(s *Server, nc net.Conn, peer rpc.Peer) *Conn {
	c := &Conn{
		srv: s, nc: nc, in: newFramer(nc), peer: peer, log: s.log,
		calls: map[uint64]*call{}, batches: map[*batch]struct{}{},
	}
	c.changed.L, c.in.hold = &c.mu, c.receive
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Peer is the process at the other end.
func (c *Conn) Peer() rpc.Peer { return c.peer }

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.ctx }

// Hold keeps the connection open for a peer that has closed its sending side and got all its answers, as pool.watch needs it.
// The returned function takes the hold back; it may be called more than once.
func (c *Conn) Hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.holds--
		c.settled()
	})
}

// Notify sends a notification and never blocks. It returns false where nothing was sent: the connection is gone, or its peer
// does not read and as much waits already as may. Then the caller tries again later with what is true by then.
func (c *Conn) Notify(method string, params any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notify(method, params)
}

// notify is called with mu held.
func (c *Conn) notify(method string, params any) bool {
	if c.closed || c.parting || c.full() {
		return false
	}
	body, err := encode(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
	if err != nil {
		c.log.Error("a notification cannot be encoded", zap.String("method", method), zap.Error(err))
		return false
	}
	c.push(body, nil)
	return true
}

// idle says that nobody waits for anything of this connection. Called with mu held.
func (c *Conn) idle() bool { return len(c.calls) == 0 && c.unsent == 0 }

// settled is called with mu held after a change that may leave the connection idle.
func (c *Conn) settled() {
	c.changed.Broadcast()
	if c.eof && c.idle() && c.holds == 0 {
		c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes atEOF
	}
}

// drained waits until the connection is idle or closed, or ctx ends.
func (c *Conn) drained(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.idle() && !c.closed && ctx.Err() == nil {
		c.changed.Wait()
	}
}

// shut closes the connection at once, and with it all its calls.
func (c *Conn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for _, waiting := range c.line { // none of them will run
		delete(c.calls, waiting.number)
	}
	c.line, c.inLine = nil, 0
	c.changed.Broadcast()
	c.cancel()
	c.nc.Close()
}

// atEOF is the reader's last act when the peer has closed its sending side: what was asked is still answered, until the peer
// closes the other side too or nothing is left to do. A connection without two sides (net.Pipe) is simply closed.
func (c *Conn) atEOF() {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	for err == nil {
		c.mu.Lock()
		if c.eof = true; c.closed || c.idle() && c.holds == 0 {
			c.mu.Unlock()
			return
		}
		var wake time.Time
		if hangupTick > 0 {
			wake = time.Now().Add(hangupTick)
		}
		c.nc.SetReadDeadline(wake)
		c.mu.Unlock()
		if err = waitHangup(raw); err == nil {
			return
		}
		if os.IsTimeout(err) {
			err = nil
		}
	}
}

// part is the reader's last act after an error that makes all further input meaningless. The answers are written and our
// sending side closed; what still comes is thrown away for a while, since a sender that gets EPIPE would not read the answer.
func (c *Conn) part() {
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.drainTime)
	defer cancel()
	c.mu.Lock()
	c.parting = true
	c.changed.Broadcast() // for the writer, which closes our side when it has written all
	c.nc.SetReadDeadline(time.Now().Add(c.srv.drainTime))
	c.mu.Unlock()
	if _, err := io.Copy(io.Discard, c.in.r); err == nil {
		c.drained(ctx)
	}
}
