package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/kernel/zmtp"
	"runtimed/rpc"
)

// connection is what a front-end tells a kernel in its connection file.
type connection struct {
	Transport string `json:"transport"`
	IP        string `json:"ip"`
	Shell     int    `json:"shell_port"`
	IOPub     int    `json:"iopub_port"`
	Stdin     int    `json:"stdin_port"`
	Control   int    `json:"control_port"`
	Heartbeat int    `json:"hb_port"`
	Key       string `json:"key"`
	Scheme    string `json:"signature_scheme"`
	Curve     string `json:"curve_secretkey"`
}

const maxConnection = 1 << 20 // bytes; a front-end writes a few hundred

func readConnection(path string) (c connection, err error) {
	data, err := safefile.Read(path, maxConnection)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s is no connection file: %w", path, err)
	}
	c.Transport, c.Scheme = or(c.Transport, "tcp"), or(c.Scheme, "hmac-sha256")
	switch {
	case c.Transport != "tcp" && c.Transport != "ipc":
		return c, fmt.Errorf("%s asks for the transport %q, and runt knows tcp and ipc", path, c.Transport)
	case c.Scheme != "hmac-sha256" && c.Key != "":
		return c, fmt.Errorf("%s asks for signatures by %q, and runt knows hmac-sha256", path, c.Scheme)
	case c.Curve != "":
		return c, fmt.Errorf("%s asks for encryption, which runt does not know", path)
	case slices.Contains([]int{c.Shell, c.IOPub, c.Stdin, c.Control, c.Heartbeat}, 0):
		return c, fmt.Errorf("%s does not name all ports", path)
	}
	return c, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// listen binds one of the ports.
func (c connection) listen(port int) (net.Listener, error) {
	if c.Transport == "ipc" {
		path := c.IP + "-" + strconv.Itoa(port)
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
			_ = os.Remove(path) // of the kernel before; where it stays, listening fails
		}
		return net.Listen("unix", path)
	}
	ip := c.IP
	if ip == "*" {
		ip = ""
	}
	return net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
}

// failedKernel is a kernel that can do nothing but say why there is none: a front-end that gets no answer would only say that time is up.
type failedKernel struct {
	connection
	session session
	message string
	lines   []string // of the traceback

	iopub zmtp.Server
	ended chan struct{}
	end   sync.Once

	mu    sync.Mutex // one message after the other
	count int
}

const tryAgain = "No cell can run before that is mended: then restart the kernel to try again."

func newFailedKernel(c connection, why *failure.Error) *failedKernel {
	k := &failedKernel{connection: c, session: newSession(c.Key), ended: make(chan struct{})}
	k.message = strings.Join(redact.LastLines(why.Message, 10), "; ")
	k.lines = []string{"RuntimedError: " + k.message}
	for _, line := range redact.LastLines(why.Output, 10) {
		k.lines = append(k.lines, "  | "+line)
	}
	if why.Hint != "" {
		k.lines = append(k.lines, "hint: "+redact.Line(why.Hint))
	}
	k.lines = append(k.lines, tryAgain)
	return k
}

// serve answers until the front-end asks for the end, or ctx ends.
func (k *failedKernel) serve(ctx context.Context) (err error) {
	k.iopub = zmtp.Server{Kind: zmtp.Pub, Subscribed: k.welcome}
	shell := zmtp.Server{Kind: zmtp.Router, Handle: k.handle}
	control := zmtp.Server{Kind: zmtp.Router, Handle: k.handle}
	stdin := zmtp.Server{Kind: zmtp.Router, Handle: func(*zmtp.Conn, zmtp.Message) {}}
	heartbeat := zmtp.Server{Kind: zmtp.Rep, Handle: func(c *zmtp.Conn, m zmtp.Message) { _ = c.Send(m) }}
	for _, s := range []struct {
		server *zmtp.Server
		port   int
	}{{&k.iopub, k.IOPub}, {&stdin, k.Stdin}, {&heartbeat, k.Heartbeat}, {&control, k.Control}, {&shell, k.Shell}} {
		ln, err := k.listen(s.port)
		if err != nil {
			return failure.New("the front-end cannot be told: %v", err)
		}
		s.server.Serve(ln)
		defer s.server.Close()
	}
	select {
	case <-ctx.Done():
	case <-k.ended:
		time.Sleep(100 * time.Millisecond) // closing a connection on which something comes in may take the last answer with it
	}
	return nil
}

func (k *failedKernel) welcome(c *zmtp.Conn, prefix []byte) {
	m, err := k.session.message("iopub_welcome", nil, map[string]any{"subscription": string(prefix)})
	if err == nil {
		_ = c.Send(slices.Concat(zmtp.Message{prefix}, m)) // who is gone needs none
	}
}

// publish tells all who listen.
func (k *failedKernel) publish(parent []byte, kind string, content any) {
	if m, err := k.session.message(kind, parent, content); err == nil {
		k.iopub.Publish(slices.Concat(zmtp.Message{[]byte("kernel." + k.session.id + "." + kind)}, m))
	}
}

// handle answers one message of the shell or the control channel.
func (k *failedKernel) handle(c *zmtp.Conn, m zmtp.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, err := k.session.read(m)
	if err != nil {
		return // a stranger, or a fault of the front-end's that it will not learn of here
	}
	status := func(s string) { k.publish(r.header, "status", map[string]string{"execution_state": s}) }
	status("busy")
	kind, content := k.answer(r)
	if kind != "" {
		if reply, err := k.session.message(kind, r.header, content); err == nil {
			_ = c.Send(slices.Concat(r.idents, reply)) // who is gone needs none; others wait for what is said to all
		}
	}
	status("idle")
	if r.kind == "shutdown_request" {
		k.publish(r.header, kind, content)
		k.end.Do(func() { close(k.ended) })
	}
}

type object = map[string]any

// answer is the reply to a request; its kind is empty where there is none.
func (k *failedKernel) answer(r request) (kind string, content object) {
	base, isRequest := strings.CutSuffix(r.kind, "_request")
	if !isRequest {
		return "", nil
	}
	ok := object{"status": "ok"}
	switch base {
	case "kernel_info":
		ok["protocol_version"], ok["implementation"], ok["implementation_version"] = protocolVersion, rpc.Name, rpc.Version()
		ok["banner"] = strings.Join(k.lines, "\n")
		ok["help_links"], ok["supported_features"] = []any{}, []any{}
		ok["language_info"] = object{
			"name": "python", "version": "3", "mimetype": "text/x-python", "file_extension": ".py", "pygments_lexer": "ipython3",
			"nbconvert_exporter": "python", "codemirror_mode": object{"name": "ipython", "version": 3},
		}
	case "execute":
		return "execute_reply", k.execute(r)
	case "is_complete":
		ok["status"] = "complete"
	case "complete":
		var at struct {
			CursorPos int `json:"cursor_pos"`
		}
		_ = json.Unmarshal(r.content, &at) // without one it is 0
		ok["matches"], ok["cursor_start"], ok["cursor_end"], ok["metadata"] = []any{}, at.CursorPos, at.CursorPos, object{}
	case "inspect":
		ok["found"], ok["data"], ok["metadata"] = false, object{}, object{}
	case "history":
		ok["history"] = []any{}
	case "comm_info":
		ok["comms"] = object{}
	case "interrupt", "connect":
	case "shutdown":
		var how struct{ Restart bool }
		_ = json.Unmarshal(r.content, &how)
		ok["restart"] = how.Restart
	default:
		return base + "_reply", k.failure("error")
	}
	return base + "_reply", ok
}

func (k *failedKernel) failure(status string) object {
	return object{"status": status, "ename": "RuntimedError", "evalue": k.message, "traceback": k.lines}
}

// execute publishes the reason as the error of a cell.
func (k *failedKernel) execute(r request) object {
	var cell struct {
		Code   string `json:"code"`
		Silent bool   `json:"silent"`
		Store  *bool  `json:"store_history"` // true where it is left out
	}
	_ = json.Unmarshal(r.content, &cell)
	if !cell.Silent {
		if cell.Store == nil || *cell.Store {
			k.count++
		}
		k.publish(r.header, "execute_input", object{"code": cell.Code, "execution_count": k.count})
		why := k.failure("error")
		delete(why, "status")
		k.publish(r.header, "error", why)
	}
	reply := k.failure("error")
	reply["execution_count"], reply["user_expressions"], reply["payload"] = k.count, object{}, []any{}
	return reply
}
