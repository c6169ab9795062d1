// Package kernel is the body of runt kernel: it has a standby become the front-end's kernel, becomes a kernel in a warm
// environment, or becomes one that says why there is none. It also reads and writes the kernelspecs by which front-ends
// start it.
package kernel

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/launch"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

// Kernel is what a front-end asks for.
type Kernel struct {
	File  string        // the connection file, absolute
	Pool  *string       // nil: uv
	Wait  time.Duration // how long to wait for an environment at most
	Fresh bool          // a kernel that is restarted gets another environment
	Args  []string      // for ipykernel, after its own
	Plain bool          // no standby kernel
	// Banner goes before the usual first line of the kernel's banner; empty: nothing does.
	Banner string
	// Needs adds what the environment must have.
	Needs func(*rpc.AcquireParams) error
	// Take takes an environment. The connection is the kernel's to close.
	Take func(rpc.AcquireParams, time.Duration) (*rpc.Client, rpc.AcquireResult, error)
	// Debug gets what only somebody looks for who wonders.
	Debug func(format string, args ...any)

	listeners []listener
}

// listener is one of the kernel's sockets, which listens already: a client that connects before a kernel listens tries
// again only after ZeroMQ's 100 ms.
type listener struct {
	addr string // as the kernel binds to it
	file *os.File
}

// failingWait is how long a kernel waits for a pool whose builds fail: people want to know at once, not after the
// next try.
const failingWait = 5 * time.Second

// Start becomes the kernel. It returns why it cannot; ServeFailure then tells the front-end.
func (k *Kernel) Start(d *daemon.Control) error {
	k.listen()
	key, label := rand.Text(), labelOf(k.File, d.Env)
	session := sessionOf(k.File, "")
	params := rpc.AcquireParams{Pool: k.Pool, Key: &key, Label: &label, Session: &session}
	if k.Fresh { // the next start has another name, so nothing waits for it
		session, params.LingerMS = sessionOf(k.File, "#"+key), new(int64)
	}
	if err := k.Needs(&params); err != nil {
		return err
	}
	wait := k.Wait
	if params.Project == nil {
		wait = Patience(d, k.Pool, wait)
	}
	ms := wait.Milliseconds()
	params.WaitMS = &ms
	client, r, err := k.take(d, params, wait)
	if err != nil {
		return err
	}
	defer client.Close()
	socket, err := d.Socket()
	if err != nil {
		return err
	}
	release := rpc.ReleaseAt{Socket: socket, Env: r.Env.ID}
	if r.Standby != nil {
		k.Debug("a plain kernel: %v", k.adopt(d, client, r, release))
	}
	if err = d.Ctx.Err(); err == nil {
		err = k.plain(r, release)
	}
	_, _ = d.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0) // the lease ends with us anyway
	return failure.New("%s cannot be run: %v", r.Env.Python, err).
		WithHint("see what the environment has: %s", r.Env.Path)
}

// script starts ipykernel in a Python of its own, with these values for launch and the banner.
func (k *Kernel) script(values map[string]any) (string, error) {
	values["banner"] = k.Banner
	text, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	literal, err := json.Marshal(string(text)) // a literal of Python's too
	return launch.Script + "\nlaunch(sys.argv[1:], **json.loads(" + string(literal) + "))\n", err
}

// take takes an environment, with a standby kernel where that would be the same as one of our own start.
func (k *Kernel) take(d *daemon.Control, params rpc.AcquireParams, wait time.Duration) (*rpc.Client,
	rpc.AcquireResult, error) {
	why := "--no-standby"
	if !k.Plain {
		why = whyPlain(d.Env)
	}
	if why != "" {
		k.Debug("a plain kernel: %s", why)
		return k.Take(params, wait)
	}
	params.Standby = new(true)
	client, r, err := k.Take(params, wait)
	if e, ok := errors.AsType[*rpc.Error](err); ok && e.Data.Param == "standby" {
		params.Standby = nil // an older daemon
		return k.Take(params, wait)
	}
	if err == nil && r.Standby == nil {
		k.Debug("a plain kernel: the environment has no standby ready")
	}
	return client, r, err
}

// Patience is how long to wait for an environment of a pool: not long where its builds fail.
func Patience(d *daemon.Control, pool *string, wait time.Duration) time.Duration {
	if isFailing(d, pool) {
		return min(wait, failingWait)
	}
	return wait
}

func isFailing(d *daemon.Control, pool *string) bool {
	uv := "uv"
	pool = cmp.Or(pool, &uv)
	r, err := d.Pools()
	return err == nil && slices.ContainsFunc(r.Pools, func(p rpc.PoolStatus) bool {
		return p.Name == *pool && p.Error != nil && p.Available == 0 && p.Warming == 0
	})
}

func labelOf(file string, env func(string) string) string {
	for _, name := range []string{env("JPY_SESSION_NAME"), filepath.Base(file)} {
		if fits(name) {
			return name
		}
	}
	return "kernel"
}

// sessionOf names the kernel across restarts, which use the same connection file; nobody else does. With a start it
// names that start alone. Jupyter's server knows its kernels by this name: the owner of a lease may be the standby.
func sessionOf(file, start string) string {
	if s := "jupyter " + file + start; fits(s) {
		return s
	}
	sum := sha256.Sum256([]byte(file))
	return "jupyter " + hex.EncodeToString(sum[:]) + start
}

func fits(text string) bool {
	return text != "" && len(text) <= rpc.MaxLabel && utf8.ValidString(text) && text == redact.Printable(text)
}

// ForFrontEnd makes SIGINT harmless if a front-end started this process: it interrupts a cell, and none runs yet. d.Ctx
// is then done when the front-end is gone. A person's Ctrl-C ends runt as always.
func ForFrontEnd(d *daemon.Control, stdin io.Reader) {
	parent := d.Env("JPY_PARENT_PID")
	if terminal, ok := stdin.(*os.File); parent == "" && ok && term.IsTerminal(int(terminal.Fd())) {
		return
	}
	// Nobody reads these. Ignoring SIGINT outright would outlive exec, and the kernel could not be interrupted.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	if parent != "" {
		go func() {
			parentGone(ctx, parent)
			cancel()
		}()
	}
	d.Ctx, d.Detached = ctx, true
}
