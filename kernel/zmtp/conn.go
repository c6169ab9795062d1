// Package zmtp is the serving side of ZeroMQ's wire protocol, as far as a Jupyter kernel needs it: version 3.0 with
// the mechanism NULL, and sockets that answer on the connection that asked (ROUTER, REP) or tell all who listen
// (PUB). It is written by hand because the libraries for it bring a C library or far more than a kernel that only
// fails can use.
//
// A peer may be a stranger: nothing is allocated before it has arrived, and who breaks the protocol is disconnected.
package zmtp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Message is the frames of one message.
type Message [][]byte

// The bounds of what a peer may send or leave unread.
const (
	MaxMessage   = 16 << 20 // bytes of one message to a ROUTER, all frames together
	MaxFrames    = 1024     // of one message
	greetTime    = 10 * time.Second
	writeTime    = 5 * time.Second
	maxSmall     = 64 << 10 // the same for others, and for commands
	greetingSize = 64
)

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

// Conn is one peer.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
	kind Kind

	writing sync.Mutex // guards what is sent
	failed  bool       // a message was cut short, so no other may follow

	mu         sync.Mutex
	subscribed [][]byte // prefixes; of a PUB socket only
}

// Send sends a message to this peer; a peer that does not read for 5 s is disconnected.
func (c *Conn) Send(m Message) error {
	var b bytes.Buffer
	for i, frame := range m {
		flags := byte(0)
		if i < len(m)-1 {
			flags = flagMore
		}
		appendFrame(&b, flags, frame)
	}
	return c.write(b.Bytes())
}

func (c *Conn) write(data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.failed {
		return net.ErrClosed
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTime)) // it fails where the write does
	if _, err := c.conn.Write(data); err != nil {
		c.failed = true
		return errors.Join(err, c.conn.Close())
	}
	return nil
}

func appendFrame(b *bytes.Buffer, flags byte, body []byte) {
	if len(body) > 255 {
		b.WriteByte(flags | flagLong)
		_ = binary.Write(b, binary.BigEndian, uint64(len(body))) // a buffer takes all
	} else {
		b.WriteByte(flags)
		b.WriteByte(byte(len(body)))
	}
	b.Write(body)
}

func (c *Conn) greet() error {
	if err := c.conn.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	mine := make([]byte, greetingSize)
	mine[0], mine[9], mine[10] = 0xff, 0x7f, 3
	copy(mine[12:], "NULL")
	if err := c.write(mine); err != nil {
		return err
	}
	var theirs [greetingSize]byte
	if _, err := io.ReadFull(c.r, theirs[:11]); err != nil { // an older peer sends no more than this
		return err
	}
	if theirs[0] != 0xff || theirs[9]&1 != 1 || theirs[10] < 3 {
		return errors.New("the peer does not speak ZMTP 3")
	}
	if _, err := io.ReadFull(c.r, theirs[11:]); err != nil {
		return err
	}
	if mechanism := string(bytes.TrimRight(theirs[12:32], "\x00")); mechanism != "NULL" {
		return fmt.Errorf("the peer wants the mechanism %q", mechanism)
	}
	var frame bytes.Buffer
	ready := fmt.Appendf(nil, "\x05READY\x0bSocket-Type\x00\x00\x00%c%s\x08Identity\x00\x00\x00\x00",
		len(c.kind), c.kind)
	appendFrame(&frame, flagCommand, ready)
	if err := c.write(frame.Bytes()); err != nil {
		return err
	}
	flags, body, err := c.frame(maxSmall)
	switch {
	case err != nil:
		return err
	case flags&flagCommand == 0 || !bytes.HasPrefix(body, []byte("\x05READY")):
		return errors.New("the peer does not say that it is ready")
	}
	peer, err := socketType(body[len("\x05READY"):])
	if err == nil && !slices.Contains(peers[c.kind], peer) {
		err = fmt.Errorf("a %s does not talk to a %q", c.kind, peer)
	}
	if err != nil {
		return err
	}
	return c.conn.SetReadDeadline(time.Time{})
}

func socketType(metadata []byte) (string, error) {
	for len(metadata) > 0 {
		n := int(metadata[0])
		if len(metadata) < 1+n+4 {
			break
		}
		name := string(metadata[1 : 1+n])
		metadata = metadata[1+n:]
		size := binary.BigEndian.Uint32(metadata)
		metadata = metadata[4:]
		if uint64(size) > uint64(len(metadata)) {
			break
		}
		if name == "Socket-Type" {
			return string(metadata[:size]), nil
		}
		metadata = metadata[size:]
	}
	return "", errors.New("the peer does not say which type its socket has")
}

func (c *Conn) frame(limit uint64) (flags byte, body []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c.r, head[:2]); err != nil {
		return 0, nil, err
	}
	flags = head[0]
	size := uint64(head[1])
	if flags&flagLong != 0 {
		if _, err := io.ReadFull(c.r, head[2:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, nil, fmt.Errorf("a frame with the flags %#x", flags)
	}
	if size > limit {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	var b bytes.Buffer // grows with what has arrived
	if _, err := io.CopyN(&b, c.r, int64(size)); err != nil {
		return 0, nil, err
	}
	return flags, b.Bytes(), nil
}

// message reads the next message; commands between messages are answered, or passed over.
func (c *Conn) message() (Message, error) {
	var m Message
	left := uint64(maxSmall)
	if c.kind == Router {
		left = MaxMessage
	}
	for {
		flags, body, err := c.frame(left)
		if err != nil {
			return nil, err
		}
		if flags&flagCommand != 0 {
			if len(m) > 0 {
				return nil, errors.New("a command in the middle of a message")
			}
			if err := c.command(body); err != nil {
				return nil, err
			}
			continue
		}
		m = append(m, body)
		left -= uint64(len(body))
		switch {
		case flags&flagMore == 0:
			return m, nil
		case len(m) == MaxFrames:
			return nil, fmt.Errorf("a message of more than %d frames", MaxFrames)
		}
	}
}

// command answers a PING, which a newer peer may send (ZMTP 3.1).
func (c *Conn) command(body []byte) error {
	context, isPing := bytes.CutPrefix(body, []byte("\x04PING"))
	if !isPing || len(context) < 2 {
		return nil
	}
	var b bytes.Buffer
	appendFrame(&b, flagCommand, append([]byte("\x04PONG"), context[2:]...))
	return c.write(b.Bytes())
}
