package server

import "runtimed/rpc"

// All connections share one bound for what the daemon keeps in memory: requests, incomplete messages, unfinished
// batches and unread answers. Each may have half of what is free, so that something is left for the next, and
// always MinHeld.

// callCost is what a call takes besides its own bytes.
const callCost = 1 << 10

func (c *call) cost() int { return callCost + len(c.method) + len(c.params) + len(c.id) }

func (c *Conn) mayHoldLocked(n int) bool {
	free := c.srv.maxHeld - int(c.srv.held.Load())
	return c.held+n <= max(rpc.MinHeld, free/2)
}

func (c *Conn) holdLocked(n int) {
	if !c.gone {
		c.held += n
		c.srv.held.Add(int64(n))
	}
}

// fullLocked reports whether the peer must read before it gets more.
func (c *Conn) fullLocked() bool {
	return c.unsent >= rpc.MaxUnsent || c.unsent > 0 && !c.mayHoldLocked(0)
}

func (c *Conn) receive(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mayHoldLocked(n) {
		return false
	}
	c.incoming += n
	c.holdLocked(n)
	return true
}

func (c *Conn) received() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdLocked(-c.incoming)
	c.incoming = 0
}

func (c *Conn) batchFull(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(b.body) > c.srv.batchBytes || len(b.body) > 0 && !c.mayHoldLocked(0)
}

func tooMuch() *rpc.Error {
	return rpc.Errorf(rpc.KindOverloaded, "the daemon holds too much for its clients already").
		WithHint("read the answers, close connections that are not needed, and try again")
}
