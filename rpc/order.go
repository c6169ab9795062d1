package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Order makes a kernel of a standby. A client sends it as one line of JSON on the standby's socket. With its first byte
// come descriptors (SCM_RIGHTS): the kernel's stdin, stdout and stderr, a listening socket for each address in
// Listening, and what Descriptors numbers. The answer is one line, [Receipt]; before the kernel ends, and after that,
// [KernelEnd] follows. docs/protocol.md describes it.
type Order struct {
	Order   int        `json:"order"`   // OrderVersion
	Argv    []Bytes    `json:"argv"`    // what follows python -m ipykernel_launcher
	CWD     Bytes      `json:"cwd"`     // absolute
	Environ []Bytes    `json:"environ"` // all variables, as NAME=value
	Umask   int        `json:"umask"`
	Nice    int        `json:"nice"`
	Limits  []RLimit   `json:"-"`         // in the member limits
	Ignored []int      `json:"ignored"`   // signals that are ignored from the start
	Listen  []string   `json:"listening"` // addresses as ZeroMQ has them: tcp://127.0.0.1:5555
	Release *ReleaseAt `json:"release,omitempty"`
	Banner  string     `json:"banner,omitempty"` // goes before the first line of the kernel's banner
	// Descriptors are the numbers that the kernel has the further ones under, and that its children inherit.
	Descriptors []int `json:"descriptors,omitempty"`
	// Independent kernels survive the end of the connection.
	Independent bool `json:"independent"`
}

// OrderVersion is the Order of this protocol.
const OrderVersion = 1

// ReceiptTime is how long a client waits for a Receipt. Then it ends the standby and starts a plain kernel.
const ReceiptTime = time.Second

// RLimit is a resource limit, named as in getrlimit(2) without RLIMIT_, in lower case.
type RLimit struct {
	Name       string
	Soft, Hard *uint64 // nil: none
}

// ReleaseAt has the kernel release its environment itself when it is shut down for good.
type ReleaseAt struct {
	Socket string `json:"socket"` // the daemon's
	Env    string `json:"env"`    // the environment's id
}

// Receipt is the first answer to an Order.
type Receipt struct {
	Started int    `json:"started"` // the kernel's pid
	Refused string `json:"refused"` // why the client must start a plain kernel; empty: it need not
}

// KernelEnd is how a kernel ended. A client that gets none knows only that it did.
type KernelEnd struct {
	Exit   *int `json:"exit"`   // its exit code
	Signal *int `json:"signal"` // or the signal that ended it
}

// Line is the order as it is sent.
func (o Order) Line() ([]byte, error) {
	limits := map[string][2]*uint64{}
	for _, l := range o.Limits {
		limits[l.Name] = [2]*uint64{l.Soft, l.Hard}
	}
	type plain Order
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		plain
		Limits map[string][2]*uint64 `json:"limits"`
	}{plain(o), limits})
	return b.Bytes(), err
}

// Bytes are text that need not be UTF-8: on the wire, each byte that is not is a lone surrogate from U+DC80 to U+DCFF,
// as in Python (PEP 383).
type Bytes string

// MarshalJSON never fails.
func (t Bytes) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for s := string(t); s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\udc%02x`, s[0])
		case r < ' ' || r == '"' || r == '\\':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return []byte(`"` + b.String() + `"`), nil
}
