package server

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"

	"runtimed/rpc"
)

// framer cuts the input into messages, in the framing that the first byte decides, and frames the answers alike.
// It holds no more than what has arrived, and nothing for what is too long.
type framer struct {
	r       *bufio.Reader
	started bool
	headers bool // Content-Length framing; else one message a line

	hold func(n int) bool // asked before n bytes of an incomplete message are kept
}

func newFramer(r io.Reader) *framer {
	return &framer{r: bufio.NewReader(r), hold: func(int) bool { return true }}
}

// next returns the next message. An [rpc.Error] is to be sent before the connection ends; any other error is the
// end of the input.
func (f *framer) next() ([]byte, error) {
	if !f.started {
		if err := f.start(); err != nil {
			return nil, err
		}
	}
	if f.headers {
		return f.nextBody()
	}
	return f.nextLine()
}

func (f *framer) start() error {
	const mark = "\xef\xbb\xbf"
	// Byte by byte, since the peer may wait for an answer to fewer bytes than a mark has.
	for n := 1; n <= len(mark); n++ {
		got, err := f.r.Peek(n)
		if err != nil && n == 1 {
			return err
		}
		if string(got) != mark[:n] {
			break // a part of a mark is not a message, and parsing it says so
		}
		if n == len(mark) {
			f.r.Discard(n)
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

// nextLine skips blank lines. The last line may lack its end.
func (f *framer) nextLine() ([]byte, error) {
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		if len(line)+len(part) > rpc.MaxMessage+len("\r\n") {
			return nil, tooLong("message", rpc.MaxMessage)
		}
		if err == bufio.ErrBufferFull && !f.hold(len(part)) {
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

const bodyStep = 4 << 10

func (f *framer) nextBody() ([]byte, error) {
	n, err := f.length()
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	for body.Len() < n {
		step := min(bodyStep, n-body.Len())
		if body.Len() > 0 && !f.hold(step) {
			return nil, tooMuch()
		}
		if _, err := io.CopyN(&body, f.r, int64(step)); err == io.EOF {
			return nil, rpc.Errorf(rpc.KindParseError, "the message ends after %d of %d bytes", body.Len(), n)
		} else if err != nil {
			return nil, err
		}
	}
	return body.Bytes(), nil
}

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

// wrap frames an answer: a line, until the first message has decided.
func (f *framer) wrap(body []byte) []byte {
	if f.headers {
		return append([]byte("Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	}
	return append(body, '\n')
}
