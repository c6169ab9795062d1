package server

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"

	"runtimed/rpc"
)

// framer cuts what comes in into messages, in the framing that the first byte decides, and puts answers into the same one.
// It allocates no more than what has arrived, and nothing for what is too long.
type framer struct {
	r       *bufio.Reader
	started bool
	headers bool // Content-Length framing; else one message a line

	hold func(n int) bool // asked before n bytes of a message that is not complete are kept; nil: they may be
}

func newFramer(r io.Reader) *framer { return &framer{r: bufio.NewReader(r)} }

// next returns the bytes of the next message, at most MaxMessage. An *[Error] means that no further message can be found:
// it is to be sent, and the connection ended. Any other error is the end of what comes, io.EOF where that is in good order.
func (f *framer) next() ([]byte, error) {
	if !f.started {
		if err := f.start(); err != nil {
			return nil, err
		}
	}
	if f.headers {
		return f.nextHeaders()
	}
	return f.nextLine()
}

// start skips a byte order mark and white space, and looks at the first byte of the first message.
func (f *framer) start() error {
	for i, b := range []byte("\xef\xbb\xbf") {
		got, err := f.r.Peek(i + 1)
		if err != nil && len(got) <= i {
			if i > 0 {
				break // a piece of the mark is no message, and is left to say so
			}
			return err
		}
		if got[i] != b {
			break
		}
		if i == 2 {
			f.r.Discard(3)
		}
	}
	for {
		b, err := f.r.ReadByte()
		if err != nil {
			return err
		}
		if strings.IndexByte(" \t\r\n", b) < 0 {
			f.headers = b == 'C' || b == 'c'
			f.started = true
			return f.r.UnreadByte()
		}
	}
}

// nextLine skips blank lines. A last line without its end counts.
func (f *framer) nextLine() ([]byte, error) {
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		if len(line)+len(part) > rpc.MaxMessage+len("\r\n") {
			return nil, tooLong("message", rpc.MaxMessage)
		}
		if err == bufio.ErrBufferFull && !f.mayHold(len(part)) {
			return nil, tooMuch()
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		msg := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case len(msg) > rpc.MaxMessage:
			return nil, tooLong("message", rpc.MaxMessage)
		case len(bytes.Trim(msg, " \t\r")) > 0:
			return msg, nil
		case err != nil:
			return nil, err
		}
		line = line[:0]
	}
}

func (f *framer) nextHeaders() ([]byte, error) {
	n, err := f.length()
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer // grows with what arrives
	for body.Len() < n {
		if body.Len() > 0 && !f.mayHold(min(bodyStep, n-body.Len())) {
			return nil, tooMuch()
		}
		if _, err := io.CopyN(&body, f.r, int64(min(bodyStep, n-body.Len()))); err == io.EOF {
			return nil, rpc.Errorf(rpc.KindParseError, "the message ends after %d of %d bytes", body.Len(), n)
		} else if err != nil {
			return nil, err
		}
	}
	return body.Bytes(), nil
}

// bodyStep is how much of a body is read at once.
const bodyStep = 4 << 10

func (f *framer) mayHold(n int) bool { return f.hold == nil || f.hold(n) }

// length reads one header block.
func (f *framer) length() (int, error) {
	length, room := -1, rpc.MaxHeader
	for {
		line, err := f.headerLine(&room)
		if err != nil {
			return 0, err
		}
		if line == "" {
			if length < 0 {
				return 0, rpc.Errorf(rpc.KindInvalidRequest, "the header block gives no Content-Length")
			}
			return length, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return 0, rpc.Errorf(rpc.KindInvalidRequest, "a header line has no colon")
		}
		if !strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			continue
		}
		value = strings.TrimSpace(value)
		if length >= 0 || value == "" || strings.Trim(value, "0123456789") != "" {
			return 0, rpc.Errorf(rpc.KindInvalidRequest, "the header block gives no valid Content-Length")
		}
		if length, err = strconv.Atoi(value); err != nil || length > rpc.MaxMessage {
			return 0, tooLong("message", rpc.MaxMessage)
		}
	}
}

// headerLine reads a line without its end. io.EOF comes only before the first byte of a block.
func (f *framer) headerLine(room *int) (string, error) {
	var line []byte
	for {
		b, err := f.r.ReadByte()
		switch {
		case err == io.EOF && *room < rpc.MaxHeader:
			return "", rpc.Errorf(rpc.KindInvalidRequest, "the header block has no end")
		case err != nil:
			return "", err
		case *room == 0:
			return "", tooLong("header block", rpc.MaxHeader)
		}
		*room--
		if b == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b)
	}
}

func tooLong(what string, limit int) *rpc.Error {
	return rpc.Errorf(rpc.KindInvalidRequest, "the %s is longer than %d bytes", what, limit)
}

// wrap makes a frame of an answer. Until a first message has decided, answers are lines.
func (f *framer) wrap(body []byte) []byte {
	if f.headers {
		return append([]byte("Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	}
	return append(body, '\n')
}
