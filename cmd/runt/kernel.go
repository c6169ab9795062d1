package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

type kernelCmd struct {
	File      string        `short:"f" placeholder:"FILE" help:"The connection file, which the front-end has written."`
	Pool      *string       `placeholder:"NAME" complete:"pools" help:"Take the environment from this pool (default: uv)."`
	Wait      time.Duration `default:"45s" help:"How long to wait for one at most. Front-ends give up after 60s."`
	OnRestart string        `enum:"keep,fresh" default:"keep" help:"keep: a kernel that is restarted finds its environment again, with what was installed in it. fresh: it gets another."`
	NoStart   bool          `help:"Do not start a daemon where none runs."`
	needFlags `embed:""`
	Args      []string `arg:"" optional:"" passthrough:"" help:"What ipykernel is told besides, after --."`
}

func (kernelCmd) Help() string {
	return "A notebook front-end starts it, by a kernelspec that 'runt kernelspec install' writes. runt becomes ipykernel in an environment " +
		"of its own, which ends with the kernel; one that is restarted with the same connection file within a minute goes on in the same " +
		"environment. Where none can be had, the first cell says why."
}

func (c *kernelCmd) Run(a *app) error {
	if c.File == "" {
		return failure.With(failure.Usage, "no connection file: runt kernel is what a notebook front-end starts, with -f FILE").
			WithHint("make the warm kernels known to Jupyter with: runt kernelspec install")
	}
	if c.Wait < 0 || c.Wait > rpc.MaxWait {
		return failure.With(failure.Usage, "--wait must be 0s to %s, got %s", rpc.MaxWait, c.Wait).WithHint("see: runt kernel --help")
	}
	file, err := filepath.Abs(c.File)
	if err != nil {
		return err
	}
	if len(c.Args) > 0 && c.Args[0] != "--" {
		return failure.With(failure.Usage, "unexpected argument %s", c.Args[0]).WithHint("what is for ipykernel comes after --; see: runt kernel --help")
	}
	a.forFrontEnd()
	why := c.begin(a, file)
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	code := a.report(why) // also where the front-end keeps its kernels' stderr
	connection, err := readConnection(file)
	if err != nil {
		return &failure.Error{Code: code, Message: "the front-end cannot be told: " + err.Error()}
	}
	return newReason(connection, failure.Of(why)).serve(a.Ctx)
}

// begin becomes the kernel; what comes back is why it cannot.
func (c *kernelCmd) begin(a *app, file string) error {
	patience := c.Wait
	if a.fails(c.Pool) {
		patience = min(patience, failingWait)
	}
	take := takeFlags{Pool: c.Pool, Wait: &patience, NoStart: c.NoStart}
	params, wait := take.params()
	label := kernelLabel(file, a.Env)
	params.Label = &label
	if c.OnRestart == "keep" {
		session := sessionOf(file)
		params.Session = &session
	}
	if err := c.addTo(a, &params); err != nil {
		return err
	}
	client, raw, err := a.take(take, params, wait)
	if err != nil {
		return err
	}
	defer client.Close()
	var r rpc.AcquireResult
	if err := json.Unmarshal(raw, &r); err != nil {
		return failure.New("the daemon's answer has another shape than this runt expects")
	}
	argv := []string{r.Env.Python, "-m", "ipykernel_launcher", "-f", file}
	if len(c.Args) > 0 {
		argv = append(argv, c.Args[1:]...)
	}
	if err = a.Ctx.Err(); err == nil {
		err = become(r.Env.Python, argv, activated(os.Environ(), r.Env), nil)
	}
	a.Call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0) // only a failure comes here
	return failure.New("%s cannot be run: %v", r.Env.Python, err).WithHint("see what the environment has: %s", r.Env.Path)
}

// failingWait is the patience with a pool whose builds fail: whoever has opened a notebook wants to know at once, and not after the next try.
const failingWait = 5 * time.Second

// fails says whether the pool has nothing to give, nothing on the way, and an error to tell.
func (a *app) fails(pool *string) bool {
	name := "uv"
	if pool != nil {
		name = *pool
	}
	r, err := a.Pools()
	return err == nil && slices.ContainsFunc(r.Pools, func(p rpc.PoolStatus) bool {
		return p.Name == name && p.Error != nil && p.Available == 0 && p.Warming == 0
	})
}

// kernelLabel is what env.list shows: the notebook where the server says which it is, else the connection file.
func kernelLabel(file string, env func(string) string) string {
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

// forFrontEnd has SIGINT mean nothing from now on where a front-end started us: it is how a cell is interrupted, and none runs yet. It ends
// a.ctx when the front-end is gone, as ipykernel would. A person's Ctrl-C ends runt as ever.
func (a *app) forFrontEnd() {
	parent := a.Env("JPY_PARENT_PID")
	if stdin, ok := a.stdin.(*os.File); parent == "" && ok && term.IsTerminal(int(stdin.Fd())) {
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
	a.Ctx, a.Detached = ctx, true
}
