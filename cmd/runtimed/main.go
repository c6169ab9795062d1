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
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/dig"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/supervisor"
	"runtimed/internal/tool"
	"runtimed/internal/words"
	"runtimed/rpc"
)

// The exit codes. A service manager restarts a daemon after any other.
const (
	exitStopped = 0
	exitUseless = 1 // a restart would not help: the lock is held, or the configuration or a path is wrong
	exitCrash   = 2
)

// stopTime bounds a clean stop.
const stopTime = 4 * time.Second

func main() {
	if code, first := proc.First(); first {
		os.Exit(code)
	}
	statedir.SetHome()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

type commandLine struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
	Run     runCommand       `cmd:"" default:"withargs" help:"${runHelp}"`
	Doctor  doctorCommand    `cmd:"" hidden:""`
	Purge   purgeCommand     `cmd:"" hidden:""`
	Store   storeCommand     `cmd:"" hidden:""`
}

type runCommand struct {
	Config        string `placeholder:"FILE" help:"${configHelp}"`
	Socket        string `placeholder:"PATH" help:"Listen here in place of where clients look; for tests."`
	CacheDir      string `placeholder:"DIR" help:"Keep environments, lock files and tools here."`
	UVPoolSize    *int   `name:"uv-pool-size" placeholder:"N" help:"${uvHelp}"`
	CondaPoolSize *int   `placeholder:"N" help:"The same for the conda pool."`
	LogLevel      string `placeholder:"LEVEL" help:"debug, info, warn or error."`
	Auto          bool   `hidden:""` // it was started because somebody needs it, so it ends after idle_exit
}

func run(args []string, stdout, stderr io.Writer) int {
	var line commandLine
	exit := -1 // what kong exits with
	parser, err := kong.New(&line,
		kong.Name("runtimed"),
		kong.Description("Keeps Python environments warm and lends them to whoever asks on its socket."),
		kong.Vars{
			"version": rpc.VersionLine(rpc.Name),
			"runHelp": "Keep the pools filled and answer on the socket until told to stop (the default).",
			"configHelp": "Configuration file (default: $RUNTIMED_CONFIG, else config.toml in ~/.config/runt, on " +
				`Windows in %APPDATA%\runt).`,
			"uvHelp": "Environments that the uv pool keeps ready; 0 turns it off.",
		},
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

// fail prints an error and its hint.
func fail(stderr io.Writer, err error, hint string) int {
	name := "runtimed: "
	if inJournal, _ := journal.StderrIsJournalStream(); inJournal {
		name = "<3>" + name // LOG_ERR, see sd-daemon(3)
	}
	text := redact.PrintableLines(redact.Text(err.Error()))
	fmt.Fprintf(stderr, "%serror: %s\n", name, strings.ReplaceAll(text, "\n", "\n"+name+"error: "))
	if hint != "" {
		fmt.Fprintf(stderr, "%shint: %s\n", name, redact.Printable(redact.Text(hint)))
	}
	return exitUseless
}

// run starts the parts and stops them at a signal, or when one of them asks for it.
func (c runCommand) run(stderr io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // it mostly waits, and takes 2 MB less so
	}
	sup, err := supervisor.Read(c.Auto) // first: children must not inherit what it reads
	if err != nil {
		return fail(stderr, err, "")
	}
	tool.KeepFiles()
	stop, signals, hangups := make(exit, 1), make(chan os.Signal, 4), make(hangups, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(hangups, syscall.SIGHUP)
	// Without this, writing to a stderr whose reader has gone (a restarted journal) would kill us. Children would
	// inherit an ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var log *logbook
	flags := config.Flags{
		Config: c.Config, Socket: c.Socket, CacheDir: c.CacheDir,
		UVPoolSize: c.UVPoolSize, CondaPoolSize: c.CondaPoolSize, LogLevel: c.LogLevel,
	}
	app := fx.New(plan, fx.Supply(flags, sup, stop, hangups), fx.Populate(&log))
	err = app.Err()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), app.StartTimeout())
		defer cancel()
		err = app.Start(ctx)
	}
	if log != nil {
		defer func() { _ = log.Sync() }() // terminals cannot be synced
	}
	if err != nil {
		return cannotStart(stderr, dig.RootCause(err), log)
	}
	code := exitStopped
	select {
	case code = <-stop:
	case s := <-signals:
		log.Info("signal", zap.Stringer("signal", s))
	}
	log.Info("stopping", zap.Int("code", code))
	go func() { // in case a part hangs; the next start cleans up
		time.Sleep(stopTime + 500*time.Millisecond)
		log.Warn("stopping took too long; leaving the rest to the next start")
		os.Exit(code)
	}()
	stopCtx, cancelStop := context.WithTimeout(context.Background(), stopTime)
	defer cancelStop()
	if err := app.Stop(stopCtx); err != nil {
		log.Warn("stopping", zap.Error(err))
	}
	log.Info("stopped")
	return code
}

// cannotStart reports err on stderr, and in the log file if that is ours already.
func cannotStart(stderr io.Writer, err error, log *logbook) int {
	if log != nil && log.ours && log.file != nil {
		log.Error("cannot start", zap.Error(err))
	}
	code := fail(stderr, err, startHint(err))
	for _, busy := range []error{context.DeadlineExceeded, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, busy) {
			return exitCrash // it may work next time
		}
	}
	return code
}

func startHint(err error) string {
	var held *statedir.HeldError
	var owner *statedir.OwnerError
	switch {
	case errors.As(err, new(config.Faults)):
		return "check it with: runt config check"
	case errors.As(err, &owner) && owner.Own == 0:
		return owner.Hint()
	case owner != nil && os.Getegid() == 0: // as in an image
		return "the folder must be yours, or root's; where it is part of an image: chown -R 0:0 when that is built"
	case errors.As(err, &owner):
		return "the folder must be yours; cache_dir in the configuration and RUNTIMED_SOCKET name others"
	case errors.As(err, new(*supervisor.SocketError)):
		return "runt service install writes the unit files anew; " +
			"RUNTIMED_SOCKET must be the same for the service and for clients"
	case errors.As(err, &held) && held.Elsewhere():
		return "runt daemon stop ends it, with RUNTIMED_SOCKET=" + held.Socket
	case held != nil, errors.Is(err, rpc.ErrSocketInUse):
		return "runt daemon info asks the one that runs; runt daemon stop ends it"
	case errors.As(err, new(*safefile.Error)):
		return "move it away: the daemon keeps only files and folders of its own there"
	case errors.As(err, new(*fs.PathError)):
		return "the folder must be yours and writable; cache_dir in the configuration and RUNTIMED_SOCKET name others"
	}
	return ""
}
