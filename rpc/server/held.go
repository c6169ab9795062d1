package server

import "runtimed/rpc"

// What the daemon keeps in memory for its clients: requests that run or wait, messages half received, answers of
// incomplete batches, and answers that are not read. All connections share one bound. Each may have half of what is
// free, so that something is left for the next one, and always MinHeld.

// callCost is what a call takes besides its own bytes.
const callCost = 1 << 10

func (c *call) cost() int { return callCost + len(c.method) + len(c.params) + len(c.id) }

// mayHoldLocked reports whether n bytes more may be kept for the connection.
func (c *Conn) mayHoldLocked(n int) bool {
	free := c.srv.maxHeld - int(c.srv.held.Load())
	return c.held+n <= max(rpc.MinHeld, free/2)
}

// holdLocked counts n bytes more, or less.
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

// receive counts n bytes of an incomplete message; false if there is no room for them.
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

// received no longer counts the message: it becomes calls.
func (c *Conn) received() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdLocked(-c.incoming)
	c.incoming = 0
}

// batchFull reports whether the answers of b leave no room for another.
func (c *Conn) batchFull(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(b.body) > c.srv.batchBytes || len(b.body) > 0 && !c.mayHoldLocked(0)
}

func tooMuch() *rpc.Error {
	return rpc.Errorf(rpc.KindOverloaded, "the daemon holds too much for its clients already").
		WithHint("read the answers, close connections that are not needed, and try again")
}
