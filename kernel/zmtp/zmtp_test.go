package zmtp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"runtimed/internal/testkit"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// greeting is what a peer of version 3.1 begins with.
func greeting(mechanism string) []byte {
	g := make([]byte, greetingSize)
	g[0], g[9], g[10], g[11] = 0xff, 0x7f, 3, 1
	copy(g[12:], mechanism)
	return g
}

func ready(kind string) []byte {
	var b, frame bytes.Buffer
	b.WriteString("\x05READY\x08Identity\x00\x00\x00\x00\x0bSocket-Type")
	_ = binary.Write(&b, binary.BigEndian, uint32(len(kind)))
	b.WriteString(kind)
	appendFrame(&frame, flagCommand, b.Bytes())
	return frame.Bytes()
}

func frames(m ...string) []byte {
	var b bytes.Buffer
	for i, f := range m {
		flags := byte(0)
		if i < len(m)-1 {
			flags = flagMore
		}
		appendFrame(&b, flags, []byte(f))
	}
	return b.Bytes()
}

// serving is a server that is asked over pipes.
type serving struct {
	t *testing.T
	*Server
}

func serve(t *testing.T, s *Server) serving {
	if s.Handle == nil {
		s.Handle = func(c *Conn, m Message) { _ = c.Send(m) } // an echo
	}
	t.Cleanup(s.Close)
	return serving{t, s}
}

// peer connects, and says data without waiting for anything; what comes back is read through it, the greeting first.
func (s serving) peer(data ...[]byte) *Conn {
	s.t.Helper()
	ours, theirs := net.Pipe()
	s.take(theirs)
	go func() { _, _ = ours.Write(bytes.Join(data, nil)) }()
	s.t.Cleanup(func() { _ = ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(5 * time.Second))
	return &Conn{conn: ours, r: bufio.NewReader(ours), kind: Router}
}

// welcomed is peer, once the server has said that it is ready.
func (s serving) welcomed(kind string, data ...[]byte) *Conn {
	s.t.Helper()
	c := s.peer(append([][]byte{greeting("NULL"), ready(kind)}, data...)...)
	if _, err := io.CopyN(io.Discard, c.r, greetingSize); err != nil {
		s.t.Fatal(err)
	}
	flags, body, err := c.frame(maxSmall)
	if err != nil || flags != flagCommand {
		s.t.Fatalf("%v, %x %q", err, flags, body)
	}
	if got, err := socketType(bytes.TrimPrefix(body, []byte("\x05READY"))); err != nil || got != string(s.Kind) {
		s.t.Errorf("it says that it is a %q: %v", got, err)
	}
	return c
}

func (s serving) answers(c *Conn, want ...string) {
	s.t.Helper()
	m, err := c.message()
	var got []string
	for _, f := range m {
		got = append(got, string(f))
	}
	if err != nil || cmp.Diff(want, got) != "" {
		s.t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
}

func TestMessagesComeBackFrameByFrame(t *testing.T) {
	s := serve(t, &Server{Kind: Router})
	long := strings.Repeat("x", 70_000)
	c := s.welcomed("DEALER", frames("a", "", long), frames("b"))
	s.answers(c, "a", "", long)
	s.answers(c, "b")
	s.answers(serve(t, &Server{Kind: Rep}).welcomed("REQ", frames("", "ping")), "", "ping")
}

func TestAPingIsAnsweredAndOtherCommandsArePassedOver(t *testing.T) {
	s := serve(t, &Server{Kind: Router})
	var ping bytes.Buffer
	appendFrame(&ping, flagCommand, []byte("\x04PING\x00\x0ahello"))
	appendFrame(&ping, flagCommand, []byte("\x05OTHER"))
	appendFrame(&ping, flagCommand, nil)
	c := s.welcomed("DEALER", ping.Bytes(), frames("a"))
	if flags, body, err := c.frame(maxSmall); err != nil || flags != flagCommand || string(body) != "\x04PONGhello" {
		t.Errorf("%v, %x %q", err, flags, body)
	}
	s.answers(c, "a")
}

func TestWhoBreaksTheProtocolIsDisconnected(t *testing.T) {
	hello := bytes.Join([][]byte{greeting("NULL"), ready("DEALER")}, nil)
	many := strings.Split(strings.Repeat("x", MaxFrames+1), "")
	for name, data := range map[string][]byte{
		"says nothing of ours": []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + strings.Repeat(" ", 64)),
		"speaks version 2":     append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1}, make([]byte, 64)...),
		"wants encryption":     greeting("CURVE"),
		"is no DEALER":         append(greeting("NULL"), ready("SUB")...),
		"is of no type":        append(greeting("NULL"), 4, 6, 5, 'R', 'E', 'A', 'D', 'Y'),
		"lies about its type": append(greeting("NULL"),
			append([]byte{4, 22}, "\x05READY\x0bSocket-Type\xff\xff\xff\xff"...)...),
		"sends a message first":          append(greeting("NULL"), frames("a")...),
		"fails":                          append(greeting("NULL"), append([]byte{4, 7}, "\x05ERROR\x00"...)...),
		"has a frame of 2^62 bytes":      append(hello, 2, 0x40, 0, 0, 0, 0, 0, 0, 0),
		"has a frame of 2^64-1 bytes":    append(hello, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"has too many frames":            append(hello, frames(many...)...),
		"has a command in a message":     append(hello, 1, 1, 'a', 4, 0),
		"has a command with more":        append(hello, 5, 0),
		"has flags that nobody knows":    append(hello, 8, 0),
		"has a READY of 2^32 bytes":      append(greeting("NULL"), 6, 0, 0, 0, 1, 0, 0, 0, 0),
		"has metadata that ends nowhere": append(greeting("NULL"), append([]byte{4, 8}, "\x05READY\x0bS"...)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &Server{Kind: Router, Handle: func(_ *Conn, m Message) { t.Errorf("it was heard: %q", m) }})
			c := s.peer(data)
			if _, err := io.Copy(io.Discard, c.r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhoListensHearsWhatItAskedFor(t *testing.T) {
	heard := make(chan string, 10)
	s := serve(t, &Server{Kind: Pub, Subscribed: func(c *Conn, prefix []byte) {
		_ = c.Send(Message{[]byte("welcome"), prefix})
		heard <- string(prefix)
	}})
	all := s.welcomed("SUB", frames("\x01"), frames("what is no subscription"), frames("\x01", "nor this"), frames(""))
	s.answers(all, "welcome", "")
	some := s.welcomed("XSUB", frames("\x01some"), frames("\x01other"), frames("\x00other"))
	s.answers(some, "welcome", "some")
	s.answers(some, "welcome", "other")
	for range 3 {
		<-heard
	}
	published := make(chan int)
	go func() {
		n := 0
		for _, topic := range []string{"some.thing", "any.thing"} {
			n += s.Publish(Message{[]byte(topic), []byte("body")})
		}
		published <- n
	}()
	go s.answers(some, "some.thing", "body")
	s.answers(all, "some.thing", "body")
	s.answers(all, "any.thing", "body")
	if n := <-published; n != 3 {
		t.Errorf("%d were told", n)
	}
}

func TestPeersThatDoNotReadHoldUpTheOthersOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, &Server{Kind: Pub})
		for range 5 {
			s.welcomed("SUB", frames("\x01"))
		}
		good := s.welcomed("SUB", frames("\x01"))
		synctest.Wait() // all have subscribed
		_ = good.conn.SetDeadline(time.Time{})
		go s.answers(good, "topic", "body")
		began := time.Now()
		if n := s.Publish(Message{[]byte("topic"), []byte("body")}); n != 1 {
			t.Errorf("%d were told", n)
		}
		if took := time.Since(began); took > writeTime {
			t.Errorf("it took %s", took)
		}
	})
}

func TestPeersBeyondTheBoundAreTurnedAway(t *testing.T) {
	s := serve(t, &Server{Kind: Router})
	for range maxConns {
		s.peer()
	}
	if _, err := s.peer().r.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	s := &Server{Kind: Router, Handle: func(*Conn, Message) {}}
	s.Serve(ln)
	conn, err := net.Dial("tcp", ln.Addr().String())
	testkit.Check(t, err)
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, greetingSize)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives")
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	s.Serve(other) // too late
	if _, err := other.Accept(); err == nil {
		t.Error("the listener lives")
	}
}

func FuzzPeer(f *testing.F) {
	hello := bytes.Join([][]byte{greeting("NULL"), ready("DEALER")}, nil)
	f.Add(append(bytes.Clone(hello), frames("a", "b")...))
	f.Add(append(bytes.Clone(hello), 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	f.Add(hello[:70])
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conn{conn: quiet{}, r: bufio.NewReader(bytes.NewReader(data)), kind: Router}
		if c.greet() != nil {
			return
		}
		for {
			m, err := c.message()
			if err != nil {
				return
			}
			if len(m) == 0 || len(m) > MaxFrames {
				t.Errorf("a message of %d frames", len(m))
			}
		}
	})
}

// quiet takes everything.
type quiet struct{ net.Conn }

func (quiet) Write(p []byte) (int, error)      { return len(p), nil }
func (quiet) SetReadDeadline(time.Time) error  { return nil }
func (quiet) SetWriteDeadline(time.Time) error { return nil }
func (quiet) Close() error                     { return nil }
