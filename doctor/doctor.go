// Package doctor finds out what keeps a daemon from working, and repairs what is the daemon's own. It starts no daemon,
// builds nothing, and works whatever is broken.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/internal/redact"
	"runtimed/pool/conda"
	"runtimed/pool/uv"
	"runtimed/rpc"
)

// Measured from the start. runt doctor as a whole has 5 s.
const (
	checkTime  = 3 * time.Second         // for tools and the network
	reportTime = 3600 * time.Millisecond // then the report is written; a check of a hanging disk never ends
	childTime  = 3 * time.Second         // more, for tools that must be killed
)

type run func(context.Context, *Env) Findings

// Check looks at one subject.
type Check struct {
	Name string
	Run  run
}

// Checks lists all checks in the order of the report.
var Checks = []Check{
	{"environment", checkEnvironment},
	{"config", checkConfig},
	{"state-directory", checkStateDirectory},
	{"socket-folder", checkSocketFolder},
	{"socket", checkSocket},
	{"lock", func(_ context.Context, e *Env) Findings { return e.lock().findings }},
	{"daemon-file", checkDaemonFile},
	{"uv", checkUV},
	{"python", ofPools(config.KindUV, checkPython)},
	{"conda", ofPools(config.KindConda, checkConda)},
	{"store", ofPools(config.KindUV, checkStore)},
	{"index", checkIndex},
	{"channels", ofPools(config.KindConda, checkChannels)},
	{"disk-space", ofState(checkSpace)},
	{"inodes", ofMount(checkInodes)},
	{"file-system", ofMount(checkFileSystem)},
	{"noexec", ofMount(checkNoExec)},
	{"links", ofState(ofPools(config.KindUV, checkLinks))},
	{"strays", ofState(checkUnmanaged)},
	{"leftovers", ofState(checkLeftovers)},
	{"processes", checkProcesses},
	{"clock", checkClock},
}

// Finding is one result of a check.
type Finding struct {
	Status  string // one of the Check constants of rpc
	Message string
	Hint    string // the next step

	fix    func() (done string, err error) // nil where nothing is ours to repair
	locked bool                            // fix needs the daemon's locks
}

// Findings are the results of a check, at least one.
type Findings []Finding

func fine(format string, args ...any) Findings {
	return Findings{{Status: rpc.CheckOK, Message: fmt.Sprintf(format, args...)}}
}

func skipped(format string, args ...any) Findings {
	return Findings{{Status: rpc.CheckSkipped, Message: fmt.Sprintf(format, args...)}}
}

func note(format string, args ...any) Findings {
	return Findings{{Status: rpc.CheckNote, Message: fmt.Sprintf(format, args...)}}
}

func warning(format string, args ...any) Findings {
	return Findings{{Status: rpc.CheckWarning, Message: fmt.Sprintf(format, args...)}}
}

func problem(format string, args ...any) Findings {
	return Findings{{Status: rpc.CheckProblem, Message: fmt.Sprintf(format, args...)}}
}

func (f Findings) hint(text string) Findings {
	f[0].Hint = text
	return f
}

func (f Findings) fixedBy(fix func() (string, error)) Findings {
	f[0].fix = fix
	return f
}

// fixedLockedBy is fixedBy for a fix during which no daemon may run.
func (f Findings) fixedLockedBy(fix func() (string, error)) Findings {
	f[0].fix, f[0].locked = fix, true
	return f
}

// worst is the first of the most severe.
func (f Findings) worst() *Finding {
	severity := []string{rpc.CheckOK, rpc.CheckSkipped, rpc.CheckNote, rpc.CheckWarning, rpc.CheckProblem}
	at := 0
	for i := range f {
		if slices.Index(severity, f[i].Status) > slices.Index(severity, f[at].Status) {
			at = i
		}
	}
	return &f[at]
}

// optional are findings about what nobody asked for. It may well not work here.
func (f Findings) optional() Findings {
	for i := range f {
		if f[i].Status == rpc.CheckWarning || f[i].Status == rpc.CheckProblem {
			f[i].Status = rpc.CheckNote
			f[i].Hint = rpc.UnneededConda(f[i].Hint)
		}
	}
	return f
}

// Options of a run.
type Options struct {
	Fix       bool // repair what is ours
	Listening bool // a service manager listens, and connecting would start a daemon

	// The settings of the tools in a configuration, as builds have them.
	UV    func(*config.Config) uv.Config
	Conda func(*config.Config) conda.Config
}

// Run writes the report to out as JSON, and returns whether there is no problem. It closes out before it waits for
// tools to end, which the reader need not.
func Run(out io.Writer, o Options) (ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	enough := time.After(reportTime)
	e := &Env{options: o, optional: make(chan []string, 1)}
	found, ended := make(chan result, len(Checks)), make(chan struct{})
	go func() {
		defer close(ended)
		e.examine(ctx, found)
	}()
	all := collect(found, enough)
	fixed := map[string]string{}
	if o.Fix {
		fixed = e.repair(all)
	}
	var optional []string
	select {
	case optional = <-e.optional:
	default: // it hangs before that
	}
	ok = report(out, all, fixed, optional)
	if c, is := out.(io.Closer); is {
		_ = c.Close()
	}
	select {
	case <-ended:
	case <-time.After(childTime):
	}
	return ok
}

type result struct {
	check    int
	findings Findings
}

// collect waits for all findings, and makes one for each check that is late.
func collect(found <-chan result, enough <-chan time.Time) []Findings {
	all := make([]Findings, len(Checks))
	late := false
	for n := 0; n < len(Checks) && !late; n++ {
		select {
		case r := <-found:
			all[r.check] = r.findings
		case <-enough:
			late = true
		}
	}
	for i := range all {
		if all[i] == nil {
			all[i] = warning("this took longer than %s, and was given up", reportTime).
				hint("a disk or a program hangs: runt doctor again, or look by hand")
		}
	}
	return all
}

// report redacts: what tools printed may hold passwords in URLs.
func report(out io.Writer, all []Findings, fixed map[string]string, optional []string) bool {
	ok, list := true, make([]rpc.Check, len(all))
	for i, found := range all {
		worst := found.worst()
		messages := make([]string, len(found))
		for n, f := range found {
			messages[n] = f.Message
		}
		list[i] = rpc.Check{
			Name: Checks[i].Name, Status: worst.Status, Message: redact.Text(strings.Join(messages, "\n")),
			Hint: redact.Text(worst.Hint), Fixed: redact.Text(fixed[Checks[i].Name]),
		}
		ok = ok && worst.Status != rpc.CheckProblem
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		OK       bool        `json:"ok"`
		Version  string      `json:"version"`
		Protocol int         `json:"protocol"`
		Checks   []rpc.Check `json:"checks"`
		Optional []string    `json:"optional,omitempty"` // pools that nobody asked for
	}{ok, rpc.Version(), rpc.Protocol, list, optional}) == nil && ok
}

func some(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
