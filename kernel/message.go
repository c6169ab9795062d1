package kernel

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"runtimed/kernel/zmtp"
)

// protocolVersion is that of Jupyter's messages.
const protocolVersion = "5.4"

var delimiter = []byte("<IDS|MSG>")

// session makes and checks the messages of one session.
type session struct {
	id  string
	key []byte // empty: messages carry no signature
	n   *atomic.Int64
}

func newSession(key string) session {
	return session{id: rand.Text(), key: []byte(key), n: &atomic.Int64{}}
}

// request is what came in.
type request struct {
	idents  zmtp.Message
	kind    string
	header  []byte
	content []byte
}

// read takes a message apart whose signature is right.
func (s session) read(m zmtp.Message) (r request, err error) {
	for i, frame := range m {
		if !bytes.Equal(frame, delimiter) {
			continue
		}
		r.idents = m[:i]
		parts := m[i+1:]
		if len(parts) < 5 {
			return r, errors.New("a message with less than four parts")
		}
		if want := s.sign(parts[1:5]); !hmac.Equal(want, parts[0]) {
			return r, errors.New("a message with another signature")
		}
		var header struct {
			Kind string `json:"msg_type"`
		}
		if err := json.Unmarshal(parts[1], &header); err != nil {
			return r, fmt.Errorf("reading the header: %w", err)
		}
		r.kind, r.header, r.content = header.Kind, parts[1], parts[4]
		return r, nil
	}
	return r, errors.New("a message without a delimiter")
}

// message is a signed message, from its delimiter on. parent is the header of what it answers; nil for none.
func (s session) message(kind string, parent []byte, content any) (zmtp.Message, error) {
	header, err := json.Marshal(map[string]string{
		"msg_id": fmt.Sprintf("%s_%d", s.id, s.n.Add(1)), "session": s.id, "username": "runt", "msg_type": kind, "version": protocolVersion,
		"date": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
	})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	if parent == nil {
		parent = []byte("{}")
	}
	parts := zmtp.Message{header, parent, []byte("{}"), body}
	return append(zmtp.Message{delimiter, s.sign(parts)}, parts...), nil
}

func (s session) sign(parts zmtp.Message) []byte {
	if len(s.key) == 0 {
		return []byte{}
	}
	mac := hmac.New(sha256.New, s.key)
	for _, part := range parts {
		mac.Write(part)
	}
	return hex.AppendEncode(nil, mac.Sum(nil))
}
