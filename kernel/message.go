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
	"slices"
	"sync/atomic"
	"time"

	"runtimed/kernel/zmtp"
)

const protocolVersion = "5.4"

var delimiter = []byte("<IDS|MSG>")

type session struct {
	id  string
	key []byte // empty: messages carry no signature
	n   *atomic.Int64
}

func newSession(key string) session {
	return session{id: rand.Text(), key: []byte(key), n: &atomic.Int64{}}
}

type request struct {
	idents  zmtp.Message
	kind    string
	header  []byte
	content []byte
}

func (s session) read(m zmtp.Message) (r request, err error) {
	i := slices.IndexFunc(m, func(frame []byte) bool { return bytes.Equal(frame, delimiter) })
	if i < 0 || len(m)-i < 6 {
		return r, errors.New("a message without a delimiter, a signature and four parts")
	}
	signature, parts := m[i+1], m[i+2:i+6]
	if !hmac.Equal(s.sign(parts), signature) {
		return r, errors.New("a message with another signature")
	}
	var header struct {
		Kind string `json:"msg_type"`
	}
	if err := json.Unmarshal(parts[0], &header); err != nil {
		return r, fmt.Errorf("reading the header: %w", err)
	}
	return request{idents: m[:i], kind: header.Kind, header: parts[0], content: parts[3]}, nil
}

// message is a signed message, from its delimiter on. parent is the header of what it answers; nil for none.
func (s session) message(kind string, parent []byte, content object) zmtp.Message {
	header, _ := json.Marshal(map[string]string{ // strings, numbers and lists of them always encode
		"msg_id": fmt.Sprintf("%s_%d", s.id, s.n.Add(1)), "session": s.id, "username": "runt", "msg_type": kind,
		"version": protocolVersion, "date": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
	})
	body, _ := json.Marshal(content)
	if parent == nil {
		parent = []byte("{}")
	}
	parts := zmtp.Message{header, parent, []byte("{}"), body}
	return append(zmtp.Message{delimiter, s.sign(parts)}, parts...)
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
