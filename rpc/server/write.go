package server

import (
	"time"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// writeChunk is the size of one write: a slow reader gets the whole time limit for each.
const writeChunk = 64 << 10

type frame struct {
	data  []byte
	marks []mark
}

// mark says where in a frame the result of a call begins.
type mark struct {
	call *call
	at   int
}

func settle(marks []mark, written int) {
	for _, m := range marks {
		m.call.settle(written > m.at)
	}
}

func (c *Conn) pushLocked(body []byte, marks []mark) {
	f := frame{data: c.in.wrap(body), marks: marks}
	c.out = append(c.out, f)
	c.unsent += len(f.data)
	c.holdLocked(len(f.data))
	c.changed.Broadcast()
}

// write ends when the connection is closed.
func (c *Conn) write() {
	for f, ok := c.nextFrame(); ok; f, ok = c.nextFrame() {
		n, err := c.writeFrame(f.data)
		settle(f.marks, n)
		if err != nil {
			if c.ctx.Err() == nil {
				c.srv.log.Debug("closing a connection that takes no answer",
					zap.Int("pid", c.peer.PID), zap.Error(err))
			}
			c.shut()
		}
		c.wrote(f)
	}
	settle(c.leftBehind(), 0)
}

func (c *Conn) nextFrame() (frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) == 0 && !c.closed {
		if c.parting && len(c.calls) == 0 {
			if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}
		c.changed.Wait()
	}
	if c.closed {
		return frame{}, false
	}
	f := c.out[0]
	c.out[0] = frame{}
	if c.out = c.out[1:]; len(c.out) == 0 {
		c.out = nil // gives a burst's array back
	}
	return f, true
}

func (c *Conn) writeFrame(data []byte) (n int, err error) {
	for n < len(data) && err == nil {
		var k int
		c.nc.SetWriteDeadline(time.Now().Add(rpc.WriteTimeout))
		k, err = c.nc.Write(data[n:min(n+writeChunk, len(data))])
		n += k
	}
	return n, err
}

func (c *Conn) wrote(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent -= len(f.data)
	c.holdLocked(-len(f.data))
	c.startNextLocked()
	c.settledLocked()
}

func (c *Conn) leftBehind() (left []mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.out {
		left = append(left, f.marks...)
	}
	for b := range c.batches {
		left = append(left, b.marks...)
	}
	c.out, c.batches = nil, nil
	return left
}
