package server

import "runtimed/rpc"

// What the daemon keeps in memory for its clients: requests that run or are in line, messages half received, answers of batches that
// are not complete, and answers that are not read. All connections share one bound. A connection may have half of what is free, so that
// there is always something left for the next one, however many take what they can; and always MinHeld.

// callCost is what a call takes besides its own bytes.
const callCost = 1 << 10

// mayHold says whether n bytes more may be kept for the connection. Called with mu held.
func (c *Conn) mayHold(n int) bool {
	free := c.srv.maxHeld - int(c.srv.held.Load())
	return c.held+n <= max(rpc.MinHeld, free/2)
}

// hold counts n bytes more, or less. Called with mu held.
func (c *Conn) hold(n int) {
	if !c.gone {
		c.held += n
		c.srv.held.Add(int64(n))
	}
}

// letGo counts what was left behind as gone, as the last that is counted. Called with mu held.
func (c *Conn) letGo() {
	c.hold(-c.held)
	c.gone = true
}

// full says whether the peer must read before it is given more. Called with mu held.
func (c *Conn) full() bool { return c.unsent >= rpc.MaxUnsent || c.unsent > 0 && !c.mayHold(0) }

// receive counts n bytes of a message that is not complete; false where there is no room for them.
func (c *Conn) receive(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mayHold(n) {
		return false
	}
	c.incoming += n
	c.hold(n)
	return true
}

// received counts the message that is read as gone: what is asked in it becomes calls.
func (c *Conn) received() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(-c.incoming)
	c.incoming = 0
}

// batchFull says whether the answers of b leave no room for another. Called without mu.
func (c *Conn) batchFull(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(b.body) > c.srv.batchBytes || len(b.body) > 0 && !c.mayHold(0)
}

// cost is what the call takes in memory.
func (c *call) cost() int { return callCost + len(c.method) + len(c.params) + len(c.id) }

func tooMuch() *rpc.Error {
	return rpc.Errorf(rpc.KindOverloaded, "the daemon holds too much for its clients already").
		WithHint("read the answers, close connections that are not needed, and try again")
}
