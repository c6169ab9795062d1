package kernel

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
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
		return c, fmt.Errorf("%s is not a connection file: %w", path, err)
	}
	c.Transport, c.Scheme = cmp.Or(c.Transport, "tcp"), cmp.Or(c.Scheme, "hmac-sha256")
	switch {
	case c.Transport != "tcp" && c.Transport != "ipc":
		return c, fmt.Errorf("%s asks for the transport %q, but runt knows only tcp and ipc", path, c.Transport)
	case c.Scheme != "hmac-sha256" && c.Key != "":
		return c, fmt.Errorf("%s asks for signatures by %q, but runt knows only hmac-sha256", path, c.Scheme)
	case c.Curve != "":
		return c, fmt.Errorf("%s asks for encryption, which runt does not know", path)
	case slices.Contains([]int{c.Shell, c.IOPub, c.Stdin, c.Control, c.Heartbeat}, 0):
		return c, fmt.Errorf("%s does not name all ports", path)
	}
	return c, nil
}

// listen opens the socket of a port, or takes it from those of the kernel that listen already.
func (k *failedKernel) listen(port int) (net.Listener, error) {
	c, taken := k.connection, net.JoinHostPort(k.IP, strconv.Itoa(port))
	for _, l := range k.listeners {
		if l.addr == "tcp://"+taken {
			return net.FileListener(l.file)
		}
	}
	if c.Transport == "ipc" {
		path := c.IP + "-" + strconv.Itoa(port)
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
			_ = os.Remove(path) // of the kernel before; if it stays, listening fails
		}
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", net.JoinHostPort(strings.TrimPrefix(c.IP, "*"), strconv.Itoa(port)))
}

// failedKernel can do nothing but say why there is no kernel. Without it, a front-end would only say that it timed out.
type failedKernel struct {
	connection
	listeners []listener
	session   session
	message   string
	brief     []string // the traceback in a cell
	lines     []string // the same with all that the tool said
	folded    object   // that, for front-ends that fold; nil: the brief one has it

	iopub zmtp.Server
	ended chan struct{}
	end   sync.Once

	mu    sync.Mutex // one message at a time
	count int
}

const tryAgain = "No cell can run until that is fixed; then restart the kernel to try again."

// ServeFailure is a kernel at the connection file that fails every cell with the reason, until the front-end ends it or
// ctx is done. It keeps the sockets that Start has opened: clients may have connected to them.
func (k *Kernel) ServeFailure(ctx context.Context, why *failure.Error) error {
	c, err := readConnection(k.File)
	if err != nil {
		return failure.With(why.Code, "the front-end cannot be told: %v", err)
	}
	failed := newFailedKernel(c, why)
	failed.listeners = k.listeners
	return failed.serve(ctx)
}

func newFailedKernel(c connection, why *failure.Error) *failedKernel {
	k := &failedKernel{connection: c, session: newSession(c.Key), ended: make(chan struct{})}
	k.message = strings.Join(redact.LastLines(why.Message, 10), "; ")
	var first, said []string // what to do comes first, since some show only the first lines
	if why.Hint != "" {
		first = []string{"hint: " + redact.Line(why.Hint)}
	}
	first = append(first, "RuntimedError: "+k.message)
	all := redact.LastLines(why.Output, 30)
	for _, line := range all {
		said = append(said, "  | "+line)
	}
	k.lines = slices.Concat(first, said, []string{tryAgain})
	k.brief = k.lines
	if len(said) > unfolded {
		k.brief = append(first, tryAgain)
		const title = "What the tool said"
		k.folded = object{"metadata": object{}, "data": object{
			"text/plain": title + ":\n" + strings.Join(said, "\n"),
			"text/html": "<details><summary>" + title + "</summary><pre>" + html.EscapeString(strings.Join(all, "\n")) +
				"</pre></details>",
		}}
	}
	return k
}

const unfolded = 3 // lines of a tool that stand in a cell

func (k *failedKernel) serve(ctx context.Context) error {
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
		time.Sleep(100 * time.Millisecond) // closing a connection with unread input may lose the last answer
	}
	return nil
}

func (k *failedKernel) welcome(c *zmtp.Conn, prefix []byte) {
	m := k.session.message("iopub_welcome", nil, object{"subscription": string(prefix)})
	_ = c.Send(slices.Concat(zmtp.Message{prefix}, m)) // a peer that is gone needs none
}

func (k *failedKernel) publish(parent []byte, kind string, content object) {
	topic := []byte("kernel." + k.session.id + "." + kind)
	k.iopub.Publish(slices.Concat(zmtp.Message{topic}, k.session.message(kind, parent, content)))
}

func (k *failedKernel) handle(c *zmtp.Conn, m zmtp.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, err := k.session.read(m)
	if err != nil {
		return // it is a stranger's, or a fault of the front-end's
	}
	k.publish(r.header, "status", object{"execution_state": "busy"})
	kind, content := k.answer(r)
	if kind != "" {
		_ = c.Send(slices.Concat(r.idents, k.session.message(kind, r.header, content)))
	}
	k.publish(r.header, "status", object{"execution_state": "idle"})
	if r.kind == "shutdown_request" {
		k.publish(r.header, kind, content)
		k.end.Do(func() { close(k.ended) })
	}
}

type object = map[string]any

func (k *failedKernel) answer(r request) (kind string, content object) {
	base, isRequest := strings.CutSuffix(r.kind, "_request")
	if !isRequest {
		return "", nil
	}
	var asked struct {
		CursorPos int `json:"cursor_pos"`
		Restart   bool
	}
	_ = json.Unmarshal(r.content, &asked) // what is missing is zero
	switch base {
	case "kernel_info":
		content = object{
			"protocol_version": protocolVersion, "implementation": rpc.Name, "implementation_version": rpc.Version(),
			"banner": strings.Join(k.lines, "\n"), "help_links": []any{}, "supported_features": []any{},
			"language_info": object{
				"name": "python", "version": "3", "mimetype": "text/x-python", "file_extension": ".py",
				"pygments_lexer": "ipython3", "nbconvert_exporter": "python",
				"codemirror_mode": object{"name": "ipython", "version": 3},
			},
		}
	case "execute":
		return "execute_reply", k.execute(r)
	case "is_complete":
		return "is_complete_reply", object{"status": "complete"}
	case "complete":
		content = object{
			"matches": []any{}, "cursor_start": asked.CursorPos, "cursor_end": asked.CursorPos, "metadata": object{},
		}
	case "inspect":
		content = object{"found": false, "data": object{}, "metadata": object{}}
	case "history":
		content = object{"history": []any{}}
	case "comm_info":
		content = object{"comms": object{}}
	case "interrupt", "connect":
		content = object{}
	case "debug": // JupyterLab looks whether a debugger runs, and not at the status
		content = k.failure()
		content["body"] = object{"isStarted": false}
		return "debug_reply", content
	case "shutdown":
		content = object{"restart": asked.Restart}
	default:
		return base + "_reply", k.failure()
	}
	content["status"] = "ok"
	return base + "_reply", content
}

// failure is for answers. nbclient takes its exception from there, and not from what is in the cell.
func (k *failedKernel) failure() object {
	return object{"status": "error", "ename": "RuntimedError", "evalue": k.message, "traceback": k.lines}
}

func (k *failedKernel) execute(r request) object {
	var cell struct {
		Code   string `json:"code"`
		Silent bool   `json:"silent"`
		Store  *bool  `json:"store_history"` // missing: true
	}
	_ = json.Unmarshal(r.content, &cell)
	reply := k.failure()
	if !cell.Silent {
		if cell.Store == nil || *cell.Store {
			k.count++
		}
		k.publish(r.header, "execute_input", object{"code": cell.Code, "execution_count": k.count})
		k.publish(r.header, "error", object{"ename": reply["ename"], "evalue": k.message, "traceback": k.brief})
		if k.folded != nil {
			k.publish(r.header, "display_data", k.folded)
		}
	}
	reply["execution_count"], reply["user_expressions"], reply["payload"] = k.count, object{}, []any{}
	return reply
}
