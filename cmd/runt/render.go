package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/rpc"
)

// writeStatus prints the pools. People and programs read this text: it is part of the contract.
func writeStatus(w io.Writer, pools []rpc.PoolStatus) {
	fmt.Fprint(w, "Pool Daemon Status\n==================\n")
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
	}
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

// age is the largest unit that says something.
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
