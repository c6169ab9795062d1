// Command runt is the command line of runtimed.
//
// stdout holds the answer and nothing else; progress, errors and hints go to stderr.
// Commands that ask never start a daemon, commands that need an environment may.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/internal/words"
	"runtimed/rpc"
)

// cli has the commands in the order of the help: first what people need first.
type cli struct {
	globals `embed:""`

	Run        runCmd        `cmd:"" help:"${runHelp}"`
	Status     statusCmd     `cmd:"" help:"Print the daemon, how many environments are ready, and why a pool fails."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what is wrong, and say what to do."`
	Pool       poolCmd       `cmd:"" help:"Ask about pools, take environments from them and give them back."`
	Env        envCmd        `cmd:"" help:"List environments and clean up what nobody needs."`
	Project    projectCmd    `cmd:"" help:"Say which project a folder belongs to, and what its notebooks get."`
	Kernelspec kernelspecCmd `cmd:"" help:"Add the warm kernels to notebook front-ends, and remove them."`
	Kernel     kernelCmd     `cmd:"" help:"${kernelHelp}"`
	Daemon     daemonCmd     `cmd:"" help:"Start, stop and look at the daemon."`
	Service    serviceCmd    `cmd:"" help:"Run the daemon as a service that starts at login."`
	Store      storeCmd      `cmd:"" help:"Keep a store of packages for all users of a machine."`
	Config     configCmd     `cmd:"" help:"Show and check the configuration."`
	RPC        rpcCmd        `cmd:"" name:"rpc" help:"Call a method of the daemon."`
	Completion completionCmd `cmd:"" help:"Print the script that completes runt's commands in a shell."`
	Ver        versionCmd    `cmd:"" name:"version" help:"Print the version."`
	Bugreport  bugreportCmd  `cmd:"" help:"Write an archive that helps to find a fault, without passwords."`
	Help       helpCmd       `cmd:"" help:"${cliHelp}"`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" passthrough:""`
}

type globals struct {
	JSON    bool             `name:"json" help:"Print the answer as JSON. The daemon's answers come unchanged."`
	Version kong.VersionFlag `help:"Print the version."`
}

// Two commands are the first part of somebody's program or kernel. They are parsed without the others, since kong takes
// milliseconds to look at all of them.
type (
	onlyRun struct {
		globals `embed:""`
		Run     runCmd `cmd:"" help:"${runHelp}"`
	}
	onlyKernel struct {
		globals `embed:""`
		Kernel  kernelCmd `cmd:"" help:"${kernelHelp}"`
	}
)

// grammarFor is the grammar for a command line, and its global flags.
func grammarFor(args []string) (any, *globals) {
	if len(args) > 0 {
		switch args[0] {
		case "run":
			c := &onlyRun{}
			return c, &c.globals
		case "kernel":
			c := &onlyKernel{}
			return c, &c.globals
		}
	}
	c := &cli{}
	return c, &c.globals
}

type app struct {
	*daemon.Control
	stdin  io.Reader
	stdout *answerWriter
	stderr io.Writer
	json   bool
	model  *kong.Application
}

func main() {
	if code, first := proc.First(); first {
		os.Exit(code)
	}
	statedir.SetHome()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // the second signal ends us as usual

	a := &app{Control: &daemon.Control{Ctx: ctx, Env: os.Getenv}, stdin: stdin, stdout: &answerWriter{w: stdout},
		stderr: stderr}
	a.Say = func(line string) {
		if !a.json {
			fmt.Fprintln(a.stderr, "runt:", redact.Line(line))
		}
	}
	err := a.dispatch(args)
	if err == nil && a.stdout.err != nil {
		err = fmt.Errorf("writing the answer: %w", a.stdout.err)
	}
	if a.Ctx.Err() != nil && err != nil && !errors.Is(err, errEnough) {
		err = &failure.Error{Code: failure.Interrupted, Message: "interrupted"}
	}
	return a.report(err)
}

// exited ends a run after --help and --version.
type exited struct{ code int }

func (a *app) dispatch(args []string) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exited:
			err = nil
		default:
			panic(p)
		}
	}()
	if len(args) == 0 {
		args = []string{"help"}
	}
	grammar, flags := grammarFor(args)
	parser, err := kong.New(grammar,
		kong.Name("runt"),
		kong.Description("Python environments, ready before you need them."),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(code int) { panic(exited{code}) }),
		kong.Vars{"version": rpc.VersionLine("runt")}.CloneWith(longHelp),
		words.Verbatim,
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true}),
	)
	if err != nil {
		return err
	}
	a.model = parser.Model
	kctx, err := parser.Parse(args)
	if err != nil {
		return usage(err)
	}
	a.json = flags.JSON
	return kctx.Run(a)
}

func usage(err error) error {
	help := "runt --help"
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		if node := pe.Context.Selected(); node != nil && !node.Hidden {
			help = node.FullPath() + " --help"
		}
	}
	return &failure.Error{Code: failure.Usage, Message: err.Error(), Hint: "see: " + help}
}

// answerWriter remembers whether writing failed.
type answerWriter struct {
	w   io.Writer
	err error
}

func (w *answerWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}
