// Command runtimed keeps Python environments warm and lends them to whoever asks on its socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/words"
	"runtimed/rpc"
)

// The exit codes. A service manager starts a daemon again that ended with any other.
const (
	exitStopped = 0
	exitUseless = 1 // starting again would end the same: the lock is held, or the configuration or a path is wrong
	exitCrash   = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// commandLine is all that runtimed understands.
type commandLine struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
	Run     runCommand       `cmd:"" default:"withargs" help:"Keep the pools filled and answer on the socket until told to stop (the default)."`
	Doctor  doctorCommand    `cmd:"" hidden:""`
	Purge   purgeCommand     `cmd:"" hidden:""`
}

type runCommand struct {
	Config        string `placeholder:"FILE" help:"Configuration file (default: $$RUNTIMED_CONFIG, else ~/.config/runt/config.toml)."`
	Socket        string `placeholder:"PATH" help:"Listen here in place of where clients look; for tests."`
	CacheDir      string `placeholder:"DIR" help:"Keep environments, lock files and tools here."`
	UVPoolSize    *int   `name:"uv-pool-size" placeholder:"N" help:"Environments that the uv pool keeps ready; 0 turns it off."`
	CondaPoolSize *int   `placeholder:"N" help:"The same for the conda pool."`
	LogLevel      string `placeholder:"LEVEL" help:"debug, info, warn or error."`
	Auto          bool   `hidden:"" help:"A command started this daemon by itself, so it ends when it has not been needed for idle_exit."`
}

func run(args []string, stdout, stderr io.Writer) int {
	var line commandLine
	exit := -1 // of kong, where it wants to exit
	parser, err := kong.New(&line,
		kong.Name("runtimed"),
		kong.Description("Keeps Python environments warm and lends them to whoever asks on its socket."),
		kong.Vars{"version": fmt.Sprintf("runtimed %s (protocol %d, %s, %s/%s)", rpc.Version(), rpc.Protocol,
			runtime.Version(), runtime.GOOS, runtime.GOARCH)},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		words.Verbatim,
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	_, err = parser.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err != nil:
		return fail(stderr, err, "runtimed --help shows what there is")
	}
	return line.Run.run(stderr)
}

// learnSecrets has what is shown from now on be without the passwords of the configuration, wherever they stand.
func learnSecrets(cfg *config.Config) {
	redact.Learn(cfg.UV.IndexURL)
	for _, p := range cfg.Pools {
		redact.Learn(p.Channels...)
		redact.Learn(p.Packages...)
	}
}

// fail prints an error and, where there is one, the next step.
func fail(stderr io.Writer, err error, hint string) int {
	name := "runtimed: "
	if inJournal, _ := journal.StderrIsJournalStream(); inJournal { // else the variable is not for us
		name = "<3>" + name // an error, by sd-daemon(3)
	}
	text := redact.PrintableLines(redact.Text(err.Error()))
	fmt.Fprintf(stderr, "%serror: %s\n", name, strings.ReplaceAll(text, "\n", "\n"+name+"error: "))
	if hint != "" {
		fmt.Fprintf(stderr, "%shint: %s\n", name, redact.Printable(redact.Text(hint)))
	}
	return exitUseless
}

func (c runCommand) run(stderr io.Writer) int {
	by, err := manager(c.Auto) // first: nothing of it is for anybody else
	if err != nil {
		return fail(stderr, err, "")
	}
	flags := config.Flags{
		Config: c.Config, Socket: c.Socket, CacheDir: c.CacheDir,
		UVPoolSize: c.UVPoolSize, CondaPoolSize: c.CondaPoolSize, LogLevel: c.LogLevel,
	}
	cfg, err := config.Load(flags, os.Getenv)
	if err != nil {
		return fail(stderr, err, "check it with: runt config check")
	}
	learnSecrets(cfg)
	if err := statedir.CheckHome(os.Getenv("HOME")); err != nil { // before anything is made
		return fail(stderr, err, startHint(err, ""))
	}
	at, err := places(cfg)
	if err != nil {
		return fail(stderr, err, "")
	}
	book, err := newLog(at, cfg.LogLevel, os.Stderr)
	if err != nil {
		return fail(stderr, err, "")
	}
	defer func() { _ = book.Sync() }() // a terminal cannot be synced, and says so
	d := &daemon{
		flags: flags, at: at, by: by, program: thisProgram(os.Args[0]), log: book.Logger, book: book,
		stop: make(chan int, 1), reload: make(chan struct{}, 1), pulse: make(chan struct{}, 1),
		notify: notifier{log: book.Logger, on: by.notify},
	}
	d.cfg.Store(cfg)
	if len(by.sockets) > 0 {
		if d.passed, err = takePassed(by.sockets, at.socket); err != nil {
			return fail(stderr, err, startHint(err, at.socket))
		}
	}
	return d.run(stderr)
}

// run starts the parts, waits for a reason to stop, and stops them.
func (d *daemon) run(stderr io.Writer) int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	// A write to a stderr that nobody reads any more would end us: a journal that was restarted. (Ignored, it would be
	// so for builds.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	app := newApp(d)
	err := app.Err()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), app.StartTimeout())
		defer cancel()
		err = app.Start(ctx)
	}
	if err != nil {
		return d.cannotStart(stderr, rootCause(err))
	}
	code := d.wait(signals)
	d.log.Info("stopping", zap.Int("code", code))
	go func() { // a part that hangs must not keep us; what it leaves, the next start finds
		time.Sleep(stopTime + 500*time.Millisecond)
		d.log.Warn("stopping took too long; leaving the rest to the next start")
		os.Exit(code)
	}()
	d.notify.stopping()
	stopCtx, cancelStop := context.WithTimeout(context.Background(), stopTime)
	defer cancelStop()
	if err := app.Stop(stopCtx); err != nil {
		d.log.Warn("stopping", zap.Error(rootCause(err)))
	}
	d.log.Info("stopped")
	return code
}

// cannotStart says why on stderr, and in the log where that is ours already and not the same.
func (d *daemon) cannotStart(stderr io.Writer, err error) int {
	if d.begun && d.book.file != nil {
		d.log.Error("cannot start", zap.Error(err))
	}
	code := fail(stderr, err, startHint(err, d.at.socket))
	for _, busy := range []error{context.DeadlineExceeded, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, busy) {
			return exitCrash // it may go well another time
		}
	}
	return code
}

// startHint is the next step for who could not start a daemon.
func startHint(err error, socket string) string {
	var held *heldError
	var path *fs.PathError
	var passed *passedError
	var other *safefile.Error
	var owner *statedir.OwnerError
	switch {
	case errors.As(err, &owner) && owner.Own == 0:
		return owner.Hint()
	case errors.As(err, &owner):
		return "the folder must be yours; cache_dir in the configuration and RUNTIMED_SOCKET name others"
	case errors.As(err, &passed):
		return "runt service install writes the unit files anew; RUNTIMED_SOCKET must be the same for the service and for clients"
	case errors.As(err, &held) && held.socket != socket: // who asks on ours finds nobody
		return "runt daemon stop ends it, with RUNTIMED_SOCKET=" + held.socket
	case held != nil, errors.Is(err, rpc.ErrSocketInUse):
		return "runt daemon info asks the one that runs; runt daemon stop ends it"
	case errors.As(err, &other):
		return "move it away: the daemon keeps only files and folders of its own there"
	case errors.As(err, &path):
		return "the folder must be yours and writable; cache_dir in the configuration and RUNTIMED_SOCKET name others"
	}
	return ""
}

// wait returns the exit code once there is a reason to stop.
func (d *daemon) wait(signals <-chan os.Signal) int {
	for {
		select {
		case code := <-d.stop:
			return code
		case s := <-signals:
			if s != syscall.SIGHUP {
				d.log.Info("signal", zap.Stringer("signal", s))
				return exitStopped
			}
			select {
			case d.reload <- struct{}{}:
			default: // one is on its way
			}
		}
	}
}

// rootCause is err without what fx wraps around it.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil || !strings.Contains(fmt.Sprintf("%T", err), "fx") && !strings.Contains(fmt.Sprintf("%T", err),
			"dig") {
			return err
		}
		err = next
	}
}
