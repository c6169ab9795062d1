package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
	"runtimed/service"
)

type doctorCmd struct {
	Fix bool `help:"Repair what is the daemon's own, and say what was done."`
}

func (doctorCmd) Help() string {
	return "It looks at the programs, the daemon and its service, the state directory, socket and lock, the " +
		"configuration, the pools, uv, Python, conda, the package index, channels, the disk and the clock, each as " +
		"ok, warning or problem with the next step. It works with no daemon running, starts none, builds nothing, " +
		"and takes less than 5 s.\n\n--fix closes the state directory in its usual place to others, removes the " +
		"socket and the damaged daemon.json of a daemon that is gone, and ends what its builds have left running. " +
		"It never touches what is yours.\n\nThe exit code is 1 exactly when there is a problem."
}

const (
	doctorLimit = 4800 * time.Millisecond // in all
	serviceTime = time.Second             // for the service manager, whose word the rest waits for
)

// finding is what one look found: by us, or by the daemon's program.
type finding struct{ rpc.Check }

func found(name, status, format string, args ...any) finding {
	return finding{Check: rpc.Check{Name: name, Status: status, Message: fmt.Sprintf(format, args...)}}
}

func (f finding) next(hint string) finding {
	f.Hint = hint
	return f
}

// foundFailure is a finding of an error that has its own next step.
func foundFailure(name, status string, err error) finding {
	f := failure.Of(err)
	return finding{Check: rpc.Check{Name: name, Status: status, Message: f.Message, Hint: f.Hint}}
}

func (c *doctorCmd) Run(a *app) error {
	ctx, cancel := context.WithTimeout(a.Ctx, doctorLimit)
	defer cancel()
	service, st := a.lookService(ctx)
	listening := st.Socket.Listening && !st.Running ||
		st.Trouble != nil && st.Socket.Installed && !a.LockHeld() // a manager that cannot be asked may listen too
	var programs, answering, pools finding
	var rest []finding
	var work sync.WaitGroup
	work.Go(func() { programs, rest = a.lookInside(ctx, c.Fix, listening) })
	work.Go(func() { answering, pools = a.lookDaemon(ctx, listening, st) })
	work.Wait()
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	list := slices.Concat([]finding{programs, answering, service, pools}, a.lookKernelspecs(), rest)
	bad := slices.ContainsFunc(list, func(f finding) bool { return f.Status == rpc.CheckProblem })
	if a.json {
		if err := a.encode(struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{!bad, list}); err != nil {
			return err
		}
	} else {
		writeFindings(a.stdout, list, a.redraws(a.stdout.w) && a.Env("NO_COLOR") == "")
	}
	if bad {
		return &failure.Error{Code: failure.Failed} // which has been told
	}
	return nil
}

// lookInside has the daemon's program look at what needs its code: it knows how pools are built.
func (a *app) lookInside(ctx context.Context, fix, listening bool) (programs finding, rest []finding) {
	program, err := daemon.Program()
	if err != nil {
		return foundFailure("programs", rpc.CheckProblem, err), nil
	}
	args := []string{"doctor", "--json"}
	if fix {
		args = append(args, "--fix")
	}
	if listening {
		args = append(args, "--listening")
	}
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &said
	cmd.WaitDelay = 100 * time.Millisecond
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return found("programs", rpc.CheckProblem, "%s cannot be run: %v", program, err).
			next("install it anew, in the version of runt"), nil
	}
	var told struct {
		Version  string
		Protocol int
		Checks   []finding
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	err = json.NewDecoder(out).Decode(&told)
	if stop() && err == nil { // it may go on for a while, to end children of its own that do not want to
		return a.lookPrograms(program, told.Version, told.Protocol), told.Checks
	}
	_ = cmd.Wait()
	if ctx.Err() != nil {
		return found("programs", rpc.CheckProblem, "%s did not tell what it sees within %s", program, doctorLimit).
			next("a disk or a program hangs: runt doctor again, or look by hand"), nil
	}
	f := found("programs", rpc.CheckProblem, "%s is of another version than this runt (%s), and knows no doctor",
		program, rpc.Version()).
		next("install both programs in the same version")
	if lines := redact.LastLines(said.String(), 1); len(lines) > 0 && !strings.Contains(lines[0], rpc.Name+": ") {
		f.Message = fmt.Sprintf("%s breaks down: %s", program, lines[0])
	}
	return f, nil
}

func (a *app) lookPrograms(program, version string, protocol int) finding {
	switch {
	case protocol != rpc.Protocol:
		return found("programs", rpc.CheckProblem, "%s is version %s (protocol %d), and this runt %s (protocol %d)",
			program, version, protocol, rpc.Version(), rpc.Protocol).next("install both programs in the same version")
	case version != rpc.Version():
		return found("programs", rpc.CheckWarning, "%s is version %s, and this runt %s", program, version,
			rpc.Version()).
			next("install both programs in the same version")
	}
	return found("programs", rpc.CheckOK, "runt and %s are version %s", program, version)
}

// lookDaemon asks the daemon who it is and how its pools are, unless asking would start it.
func (a *app) lookDaemon(ctx context.Context, listening bool, st serviceStatus) (answering, pools finding) {
	unknown := found("pools", rpc.CheckOK, "not known: no daemon answers")
	if listening {
		return found("daemon", rpc.CheckOK, "not running: the service manager starts it when somebody asks"), unknown
	}
	c, info, err := a.Meet(ctx, nil)
	switch {
	case rpc.KindOf(err) == rpc.KindUnreachable && st.Enabled && !st.OnDemand:
		return found("daemon", rpc.CheckWarning, "not running, though its service is installed").
			next("runt service start; why it ended: runt daemon logs"), unknown
	case rpc.KindOf(err) == rpc.KindUnreachable:
		return found("daemon", rpc.CheckOK,
			"not running; runt daemon start starts it, and so does whoever needs an environment"), unknown
	case err != nil:
		return found("daemon", rpc.CheckWarning, "not known: see socket"), unknown
	}
	defer c.Close()
	if info.Protocol != rpc.Protocol {
		return foundFailure("daemon", rpc.CheckProblem, daemon.OtherVersion(info)),
			found("pools", rpc.CheckOK, "not known: the daemon is of another version")
	}
	up := age(time.Duration(info.UptimeMS) * time.Millisecond)
	answering = found("daemon", rpc.CheckOK, "version %s, pid %d, up %s, started by %s", info.Version, info.PID, up,
		startedBy(info))
	const restart = "bring the new one in with: runt daemon restart"
	switch {
	case info.Replaced:
		answering = found("daemon", rpc.CheckWarning, "version %s (pid %d) runs, and another file is at %s by now",
			info.Version, info.PID, info.Program).next(restart)
	case info.Version != rpc.Version():
		answering = found("daemon", rpc.CheckWarning, "version %s (pid %d) runs, and this runt is %s",
			info.Version, info.PID, rpc.Version()).next(restart)
	}
	var status rpc.StatusResult
	if err := c.Call(ctx, rpc.MethodStatus, rpc.PoolParams{}, &status); err != nil {
		return answering, foundFailure("pools", rpc.CheckProblem, daemon.TimedOut(err, info.Socket, doctorLimit))
	}
	return answering, lookPools(status.Pools)
}

func startedBy(info rpc.Info) string {
	switch info.StartedBy {
	case rpc.StartedByService:
		return "its service"
	case rpc.StartedByCommand:
		return "a command, so it ends when idle"
	}
	return "hand"
}

func lookPools(pools []rpc.PoolStatus) finding {
	var lines []string
	status, hint, off := rpc.CheckOK, "", 0
	for _, p := range pools {
		switch {
		case p.Error != nil:
			next := "now"
			if p.Error.NextRetryMS > 0 {
				next = "in " + seconds(time.Duration(p.Error.NextRetryMS)*time.Millisecond)
			}
			lines = append(lines, fmt.Sprintf("%s: builds fail (%s): %s; next try %s", p.Name, p.Error.Cause,
				p.Error.Message, next))
			if status = rpc.CheckProblem; hint == "" {
				hint = p.Error.Hint
			}
		case p.Target == 0:
			off++
			lines = append(lines, p.Name+": off")
		default:
			lines = append(lines, fmt.Sprintf("%s: %d of %d ready, %d warming", p.Name, p.Available, p.Target,
				p.Warming))
		}
	}
	if off == len(pools) && status == rpc.CheckOK {
		status, hint = rpc.CheckWarning, "give one a size in the configuration"
	}
	return finding{Check: rpc.Check{Name: "pools", Status: status, Message: strings.Join(lines, "\n"), Hint: hint}}
}

type serviceStatus = service.Status

// lookService asks the service manager first: where it listens for a daemon that does not run, to connect would start
// it.
func (a *app) lookService(ctx context.Context) (finding, serviceStatus) {
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	const name, install = "service", "runt service install has the daemon start at login"
	s, err := a.Service()
	if err != nil {
		return found(name, rpc.CheckOK, "none: %s", failure.Of(err).Message), serviceStatus{}
	}
	st, err := s.Status(ctx, s.Config)
	switch {
	case err != nil:
		return foundFailure(name, rpc.CheckWarning, err), st
	case !st.Installed:
		return found(name, rpc.CheckOK, "not installed; "+install), st
	case st.Trouble != nil:
		return found(name, rpc.CheckWarning, "installed, and its manager cannot be used from here: %s",
			st.Trouble.Message).
			next(st.Trouble.Hint), st
	case !st.Enabled || !st.UpToDate:
		if _, err := s.Install(ctx, s.Config); err != nil { // as where somebody else wrote its files
			return foundFailure(name, rpc.CheckWarning, err), st
		}
	}
	switch {
	case !st.Enabled:
		return found(name, rpc.CheckWarning, "installed, and not enabled: nothing starts the daemon at login").
			next("runt service install enables it"), st
	case !st.UpToDate:
		return found(name, rpc.CheckWarning,
			"installed, and its files are not what this runt and this shell would write").
			next("runt service install --dry-run shows them, runt service install writes them"), st
	}
	text := "installed and enabled, up to date"
	if st.OnDemand {
		text += "; the daemon starts when somebody first asks"
	}
	if st.Linger != nil && !*st.Linger {
		text += "; it ends when you log out for good (loginctl enable-linger keeps it)"
	}
	return found(name, rpc.CheckOK, "%s", text), st
}
