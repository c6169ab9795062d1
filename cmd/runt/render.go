package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/rpc"
)

func ask[R any](a *app, method string, params any, show func(R)) error {
	raw, err := a.Ask(method, params, 0)
	if err != nil {
		return err
	}
	return answer(a, raw, show)
}

func answer[R any](a *app, raw json.RawMessage, show func(R)) error {
	var result R
	if err := daemon.Decode(raw, &result); err != nil {
		return err
	}
	if a.json {
		a.printJSON(raw)
	} else {
		show(result)
	}
	return nil
}

// errEnough ends what only Ctrl-C ends: there is nothing to say.
var errEnough error = &failure.Error{Code: failure.Interrupted}

func (a *app) report(err error) int {
	if err == nil {
		return failure.OK
	}
	f := failure.Of(err)
	for line := range strings.Lines(f.Message) {
		fmt.Fprintln(a.stderr, "runt: error:", redact.Line(strings.TrimRight(line, "\r\n")))
	}
	for _, line := range redact.LastLines(f.Output, 10) {
		fmt.Fprintln(a.stderr, "  |", line)
	}
	if f.Hint != "" {
		fmt.Fprintln(a.stderr, "runt: hint:", redact.Line(f.Hint))
	}
	return f.Code
}

func (a *app) printJSON(raw json.RawMessage) { fmt.Fprintf(a.stdout, "%s\n", raw) }

// printf makes strings in args fit for a terminal: others may have written them.
func (a *app) printf(format string, args ...any) {
	for i, v := range args {
		if s, ok := v.(string); ok {
			args[i] = redact.Printable(s)
		}
	}
	fmt.Fprintf(a.stdout, format, args...)
}

// show prints v as JSON, or calls print, which is for people.
func (a *app) show(v any, print func()) error {
	if a.json {
		return a.encode(v)
	}
	print()
	return nil
}

func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeStatus prints text that programs read too: without verbose it is part of the contract.
func writeStatus(w io.Writer, pools []rpc.PoolStatus, verbose bool, first ...string) {
	fmt.Fprint(w, "Pool Daemon Status\n==================\n")
	for _, line := range first {
		fmt.Fprintln(w, line)
	}
	for _, p := range pools {
		fmt.Fprintln(w, poolTitle(p))
		if p.Target == 0 {
			fmt.Fprintln(w, "  Off")
			continue
		}
		fmt.Fprintf(w, "  Available: %d\n  Warming:   %d\n", p.Available, p.Warming)
		if p.Error != nil {
			writePoolError(w, p.Error)
		}
		if verbose {
			writeStandby(w, p.Standby)
			if p.Lock != "" {
				fmt.Fprintf(w, "  Lock:      %s\n", redact.Printable(p.Lock))
			}
		}
	}
}

func writeStandby(w io.Writer, s rpc.StandbyStatus) {
	if s.Target == 0 { // or an older daemon
		fmt.Fprintln(w, "  Standby:   off")
		return
	}
	fmt.Fprintf(w, "  Standby:   %s\n", redact.Printable(standbyText(s)))
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "  Preload:   %s\n", redact.Printable(warning))
	}
}

func standbyText(s rpc.StandbyStatus) string {
	text := fmt.Sprintf("%d of %d ready", s.Ready, s.Target)
	if s.Why != "" {
		text += ": " + s.Why
	}
	return text
}

func poolTitle(p rpc.PoolStatus) string {
	switch p.Name {
	case "uv":
		return "UV environments:"
	case "conda":
		return "Conda environments:"
	}
	return fmt.Sprintf("%s environments (%s):", redact.Printable(p.Name), redact.Printable(p.Kind))
}

func writePoolError(w io.Writer, e *rpc.PoolError) {
	fmt.Fprintf(w, "  Failing:   %s\n", redact.Printable(e.Message))
	for _, line := range redact.LastLines(e.Output, 3) {
		fmt.Fprintf(w, "             | %s\n", line)
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  Hint:      %s\n", redact.Printable(e.Hint))
	}
	next := nextTry(e)
	if e.Failures > 1 {
		next += fmt.Sprintf(" (failed %d times in a row)", e.Failures)
	}
	fmt.Fprintf(w, "  Next try:  %s\n", next)
}

// nextTry rounds up: "in 0s" would be a lie.
func nextTry(e *rpc.PoolError) string {
	if e.NextRetryMS <= 0 {
		return "now"
	}
	wait := time.Duration(e.NextRetryMS) * time.Millisecond
	return "in " + (wait + time.Second - 1).Truncate(time.Second).String()
}

func writeEnvs(w io.Writer, envs []rpc.EnvListed, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPOOL\tSTATE\tPYTHON\tSIZE\tAGE\tLEASED TO")
	for _, e := range envs {
		cells := []string{e.ID, e.Pool, e.State, orDash(e.PythonVersion), "-", "-", daemon.LeaseText(e.Lease)}
		if e.State != rpc.EnvWarming { // neither is known before it is built
			cells[5] = ageSince(e.CreatedAt, now)
			if e.SizeBytes != nil && *e.SizeBytes > 0 {
				cells[4] = safefile.Size(*e.SizeBytes)
			}
		}
		if e.Project != nil {
			cells[6] += " (project " + e.Project.Path + ")"
		}
		for i := range cells {
			cells[i] = redact.Printable(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ageSince is a dash where it is not known: of an environment whose record cannot be read, or after the clock was set
// back.
func ageSince(t, now time.Time) string {
	const slack = time.Minute // between two clocks
	if t.Year() < 2000 || t.After(now.Add(slack)) {
		return "-"
	}
	return age(now.Sub(t))
}

func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// verdicts are in the order of printing: what is wrong comes last, where people look.
var verdicts = []struct{ status, colour, many string }{
	{rpc.CheckOK, "32", "ok"}, {rpc.CheckSkipped, "90", "skipped"}, {rpc.CheckNote, "36", "notes"},
	{rpc.CheckWarning, "33", "warnings"}, {rpc.CheckProblem, "31", "problems"},
}

func writeChecks(w io.Writer, list []rpc.Check, colours bool) {
	wide := 0
	for _, f := range list {
		wide = max(wide, len(f.Name))
	}
	var counts []string
	for _, v := range verdicts {
		n := 0
		for _, f := range list {
			if f.Status != v.status {
				continue
			}
			n++
			word := fmt.Sprintf("%-7s", f.Status)
			if colours {
				word = "\x1b[" + v.colour + "m" + word + "\x1b[0m"
			}
			text := redact.PrintableLines(f.Message)
			if f.Fixed != "" {
				text += "\nrepaired: " + redact.Printable(f.Fixed)
			}
			if f.Hint != "" {
				text += "\n-> " + redact.Printable(f.Hint)
			}
			indent := fmt.Sprintf("\n%*s", len("problem")+2+wide+2, "")
			fmt.Fprintf(w, "%s  %-*s  %s\n", word, wide, f.Name, strings.ReplaceAll(text, "\n", indent))
		}
		if n > 0 {
			word := v.many
			if n == 1 {
				word = v.status
			}
			counts = append(counts, fmt.Sprintf("%d %s", n, word))
		}
	}
	slices.Reverse(counts)
	fmt.Fprintf(w, "\n%s\n", strings.Join(counts, ", "))
}
