package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"runtimed/config"
	"runtimed/doctor"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

// doctorCommand is the part of `runt doctor` that needs the daemon's own code, and runt has none of it. It starts no daemon, builds
// nothing, and works whatever is broken.
type doctorCommand struct {
	JSON      bool `name:"json" help:"Print the findings as JSON; there is no other form."`
	Fix       bool `help:"Repair what is ours, and say what was done."`
	Listening bool `help:"A service manager listens for a daemon that does not run: to connect would start it."`
}

// The times are from the start; runt doctor as a whole has 5 s.
const (
	doctorLook = 3 * time.Second         // for a child or the network
	doctorTell = 3600 * time.Millisecond // then what is known is told: a disk that hangs keeps a look for ever
	doctorLast = 3 * time.Second         // more, for children that have to be killed
	greetTime  = 1500 * time.Millisecond // for whoever listens on the socket
)

// finding is what one look found.
type finding struct {
	rpc.Check

	fix   func() (done string, err error) // nil: nothing of this is ours to repair
	alone bool                            // fix needs the locks, so that no daemon runs meanwhile
}

func fine(format string, args ...any) finding {
	return finding{Check: rpc.Check{Status: rpc.CheckOK, Message: fmt.Sprintf(format, args...)}}
}

func warning(format string, args ...any) finding {
	return finding{Check: rpc.Check{Status: rpc.CheckWarning, Message: fmt.Sprintf(format, args...)}}
}

func problem(format string, args ...any) finding {
	return finding{Check: rpc.Check{Status: rpc.CheckProblem, Message: fmt.Sprintf(format, args...)}}
}

func (f finding) next(hint string) finding {
	f.Hint = hint
	return f
}

func (f finding) mendedBy(fix func() (string, error)) finding {
	f.fix = fix
	return f
}

func (f finding) mendedAloneBy(fix func() (string, error)) finding {
	f.fix, f.alone = fix, true
	return f
}

// exam is what the looks share.
type exam struct {
	ctx       context.Context
	listening bool

	cfg     *config.Config // of the daemon that answers, else what one would have that is started here
	faults  error          // in the configuration of this shell
	at      paths
	badPath error
	met     meeting
	environ []string // of the daemon that answers, else ours

	tools   *doctor.Inspector
	noTools error
	uv      func() (doctor.FoundUV, error)
	conda   func() (condaFound, error)
	holds   func() lockFound

	children sync.WaitGroup // runs of tools that nobody waits for any more
}

// within is f, or the end of the time for looks: a tool that does not want to end takes longer.
func within[R any](x *exam, f func() (R, error)) (R, error) {
	var r R
	var err error
	done := make(chan struct{})
	x.children.Go(func() {
		defer close(done)
		r, err = f()
	})
	select {
	case <-done:
		return r, err
	case <-x.ctx.Done():
		var none R
		return none, x.ctx.Err()
	}
}

// looks are all there is to look at, in the order in which it is told.
var looks = []struct {
	name string
	look func(*exam) finding
}{
	{"environment", (*exam).lookEnvironment},
	{"config", (*exam).lookConfig},
	{"state-directory", func(x *exam) finding { return x.lookFolder(x.at.state) }},
	{"socket-folder", (*exam).lookSocketFolder},
	{"socket", (*exam).lookSocket},
	{"lock", func(x *exam) finding { return x.holds().finding }},
	{"daemon-file", (*exam).lookDaemonFile},
	{"uv", (*exam).lookUV},
	{"python", (*exam).lookPython},
	{"conda", (*exam).lookConda},
	{"index", (*exam).lookIndex},
	{"channels", (*exam).lookChannels},
	{"disk-space", (*exam).lookSpace},
	{"inodes", (*exam).lookInodes},
	{"file-system", (*exam).lookFileSystem},
	{"noexec", (*exam).lookNoExec},
	{"links", (*exam).lookLinks},
	{"strays", (*exam).lookStrays},
	{"leftovers", (*exam).lookLeftovers},
	{"processes", (*exam).lookProcesses},
	{"clock", (*exam).lookClock},
}

// AfterApply is called by kong where this command was given.
func (c doctorCommand) AfterApply(k *kong.Kong) error {
	k.Exit(c.run(k.Stdout))
	return nil
}

func (c doctorCommand) run(stdout io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), doctorLook)
	defer cancel()
	enough := time.After(doctorTell)
	x := &exam{ctx: ctx, listening: c.Listening}
	found, ended := make(chan finding, len(looks)), make(chan struct{})
	go func() {
		defer close(ended)
		x.examine(found)
	}()
	list := collect(found, enough)
	if c.Fix {
		x.mend(list)
	}
	code := tell(stdout, list)
	if f, ok := stdout.(*os.File); ok { // the caller has what it needs, while we see to it that no child of ours outlives us
		_ = f.Close()
	}
	select {
	case <-ended:
	case <-time.After(doctorLast):
	}
	return code
}

// examine finds out what the looks share, and then takes them all at once.
func (x *exam) examine(found chan<- finding) {
	x.gather()
	x.tools, x.noTools = doctor.NewInspector(x.at.state, uvConfig(x.cfg), condaConfig(x.cfg), x.environ)
	if x.noTools == nil {
		defer x.tools.Close() // best effort: it is below the folder for temporary files
	}
	defer x.children.Wait()
	x.uv = sync.OnceValues(x.findUV)
	x.conda = sync.OnceValues(x.findConda)
	x.holds = sync.OnceValue(x.findLock)
	var work sync.WaitGroup
	for _, l := range looks {
		work.Go(func() {
			f := l.look(x)
			f.Name = l.name
			found <- f
		})
	}
	work.Wait()
}

// collect waits for the findings, and returns them in their order, with one for each that is late.
func collect(found <-chan finding, enough <-chan time.Time) (list []finding) {
	late := false
	for len(list) < len(looks) && !late {
		select {
		case f := <-found:
			list = append(list, f)
		case <-enough:
			late = true
		}
	}
	order := func(name string) int {
		for i, l := range looks {
			if l.name == name {
				return i
			}
		}
		return len(looks)
	}
	for _, l := range looks {
		if !slices.ContainsFunc(list, func(f finding) bool { return f.Name == l.name }) {
			f := warning("this took longer than %s, and was given up", doctorTell).
				next("a disk or a program hangs: runt doctor again, or look by hand")
			f.Name = l.name
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b finding) int { return cmp.Compare(order(a.Name), order(b.Name)) })
	return list
}

// tell prints the findings. What of them others wrote may hold passwords in URLs.
func tell(stdout io.Writer, list []finding) int {
	ok := true
	for i := range list {
		f := &list[i]
		f.Message, f.Hint, f.Fixed = redact.Text(f.Message), redact.Text(f.Hint), redact.Text(f.Fixed)
		ok = ok && f.Status != rpc.CheckProblem
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		OK       bool      `json:"ok"`
		Version  string    `json:"version"`
		Protocol int       `json:"protocol"`
		Checks   []finding `json:"checks"`
	}{ok, rpc.Version(), rpc.Protocol, list})
	if err != nil || !ok {
		return exitUseless
	}
	return exitStopped
}
