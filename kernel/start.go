// Package kernel is the body of runt kernel: it becomes a kernel in a warm environment, or one that says why there is none. It also reads
// and writes the kernelspecs by which front-ends start it.
package kernel

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"runtimed/internal/command"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

// Kernel is what a front-end asks for.
type Kernel struct {
	File  string        // the connection file, absolute
	Pool  *string       // nil: uv
	Wait  time.Duration // how long to wait for an environment at most
	Fresh bool          // a kernel that is restarted gets another environment
	Args  []string      // what ipykernel is told besides
	// Needs adds what the environment must have.
	Needs func(*rpc.AcquireParams) error
	// Take takes an environment. The connection is the kernel's to close.
	Take func(rpc.AcquireParams, time.Duration) (*rpc.Client, json.RawMessage, error)
}

// Start becomes the kernel; what comes back is why it cannot.
func (k *Kernel) Start(d *daemon.Control) error {
	patience := k.Wait
	if fails(d, k.Pool) {
		patience = min(patience, failingWait)
	}
	key, ms := rand.Text(), patience.Milliseconds()
	params := rpc.AcquireParams{Pool: k.Pool, Key: &key, WaitMS: &ms}
	label := labelOf(k.File, d.Env)
	params.Label = &label
	if !k.Fresh {
		session := sessionOf(k.File)
		params.Session = &session
	}
	if err := k.Needs(&params); err != nil {
		return err
	}
	client, raw, err := k.Take(params, patience)
	if err != nil {
		return err
	}
	defer client.Close()
	var r rpc.AcquireResult
	if err := daemon.Decode(raw, &r); err != nil {
		return err
	}
	argv := []string{r.Env.Python, "-m", "ipykernel_launcher", "-f", k.File}
	argv = append(argv, k.Args...)
	if err = d.Ctx.Err(); err == nil {
		err = command.Become(r.Env.Python, argv, command.Environ(os.Environ(), r.Env), nil)
	}
	d.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0) // only a failure comes here
	return failure.New("%s cannot be run: %v", r.Env.Python, err).WithHint("see what the environment has: %s", r.Env.Path)
}

// failingWait is the patience with a pool whose builds fail: whoever has opened a notebook wants to know at once, and not after the next try.
const failingWait = 5 * time.Second

// fails says whether the pool has nothing to give, nothing on the way, and an error to tell.
func fails(d *daemon.Control, pool *string) bool {
	name := "uv"
	if pool != nil {
		name = *pool
	}
	r, err := d.Pools()
	return err == nil && slices.ContainsFunc(r.Pools, func(p rpc.PoolStatus) bool {
		return p.Name == name && p.Error != nil && p.Available == 0 && p.Warming == 0
	})
}

// labelOf is what env.list shows: the notebook where the server says which it is, else the connection file.
func labelOf(file string, env func(string) string) string {
	for _, name := range []string{env("JPY_SESSION_NAME"), filepath.Base(file)} {
		if fits(name) {
			return name
		}
	}
	return "kernel"
}

// sessionOf names the kernel over its restarts: they use the same connection file, whose name is used once.
func sessionOf(file string) string {
	if s := "jupyter " + file; fits(s) {
		return s
	}
	sum := sha256.Sum256([]byte(file))
	return "jupyter " + hex.EncodeToString(sum[:])
}

func fits(text string) bool {
	return text != "" && len(text) <= rpc.MaxLabel && utf8.ValidString(text) && text == redact.Printable(text)
}

// ForFrontEnd has SIGINT mean nothing from now on where a front-end started us: it is how a cell is interrupted, and none runs yet. It ends
// d.Ctx when the front-end is gone, as ipykernel would. A person's Ctrl-C ends runt as ever.
func ForFrontEnd(d *daemon.Control, stdin io.Reader) {
	parent := d.Env("JPY_PARENT_PID")
	if terminal, ok := stdin.(*os.File); parent == "" && ok && term.IsTerminal(int(terminal.Fd())) {
		return
	}
	ignored := make(chan os.Signal, 1) // nobody reads; ignoring them outright would outlive exec, and the kernel could not be interrupted
	signal.Notify(ignored, os.Interrupt)
	ctx, cancel := context.WithCancel(context.Background())
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		cancel()
	}()
	if parent != "" {
		go func() {
			parentGone(ctx, parent)
			cancel()
		}()
	}
	d.Ctx, d.Detached = ctx, true
}

// ServeFailure is a kernel at the connection file that says why there is none, until the front-end ends it or ctx ends.
func ServeFailure(ctx context.Context, file string, why *failure.Error) error {
	connection, err := readConnection(file)
	if err != nil {
		return failure.With(why.Code, "the front-end cannot be told: %v", err)
	}
	return newFailedKernel(connection, why).serve(ctx)
}
