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
	"runtimed/kernel"
	"runtimed/rpc"
	"runtimed/service"
)

type doctorCmd struct {
	Fix bool `help:"Repair what is the daemon's own, and say what was done."`
}

func (doctorCmd) Help() string {
	return "It checks the programs, the daemon and its service, the state directory, socket and lock, the " +
		"configuration, the pools, uv, Python, conda, the package index, channels, the disk and the clock. " +
		"It works with no daemon running, starts none, builds nothing, and takes less than 5 s.\n\n" +
		"Each check is ok: as it should be; skipped: not tested, with why; note: nothing has to be done, or " +
		"nobody asked for what does not work here; warning: it works, but not as it should; or problem: what is " +
		"needed or configured does not work.\n\n" +
		"--fix closes the state directory in its usual place to others, removes the socket and the damaged " +
		"daemon.json of a daemon that is gone, and ends what its builds have left running. " +
		"It never touches files of yours.\n\nThe exit code is 1 exactly when there is a problem."
}

const (
	doctorLimit = 4800 * time.Millisecond // in all
	serviceTime = time.Second             // for the service manager, which the rest waits for

	installBoth = "install both programs in the same version"
	bringNewIn  = "start the new one with: runt daemon restart"
)

func found(name, status, hint, format string, args ...any) rpc.Check {
	return rpc.Check{Name: name, Status: status, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func okay(name, format string, args ...any) rpc.Check {
	return found(name, rpc.CheckOK, "", format, args...)
}

func skipped(name, format string, args ...any) rpc.Check {
	return found(name, rpc.CheckSkipped, "", format, args...)
}

func note(name, format string, args ...any) rpc.Check {
	return found(name, rpc.CheckNote, "", format, args...)
}

func warning(name, hint, format string, args ...any) rpc.Check {
	return found(name, rpc.CheckWarning, hint, format, args...)
}

func problem(name, hint, format string, args ...any) rpc.Check {
	return found(name, rpc.CheckProblem, hint, format, args...)
}

func foundError(name, status string, err error) rpc.Check {
	f := failure.Of(err)
	return found(name, status, f.Hint, "%s", f.Message)
}

func (c *doctorCmd) Run(a *app) error {
	ctx, cancel := context.WithTimeout(a.Ctx, doctorLimit)
	defer cancel()
	service, st := a.findService(ctx)
	listening := st.Socket.Listening && !st.Running ||
		st.Trouble != nil && st.Socket.Installed && !a.LockHeld() // a manager that cannot be asked may listen too
	var inside, told []rpc.Check
	var optional []string
	var daemon rpc.Check
	var pools []rpc.PoolStatus
	var work sync.WaitGroup
	work.Go(func() { inside, optional = a.checkInside(ctx, c.Fix, listening) })
	work.Go(func() {
		var why *rpc.Check
		if daemon, pools, why = a.checkDaemon(ctx, listening, st); why != nil {
			told = []rpc.Check{*why}
		}
	})
	work.Wait()
	if told == nil {
		told = append([]rpc.Check{checkPools(pools, optional)}, a.checkStandbys(pools)...)
	}
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	list := slices.Concat(inside[:1], []rpc.Check{daemon, service}, told, a.checkKernelspecs(), inside[1:])
	bad := slices.ContainsFunc(list, func(f rpc.Check) bool { return f.Status == rpc.CheckProblem })
	if a.json {
		if err := a.encode(struct {
			OK     bool        `json:"ok"`
			Checks []rpc.Check `json:"checks"`
		}{!bad, list}); err != nil {
			return err
		}
	} else {
		writeChecks(a.stdout, list, a.redraws(a.stdout.w) && a.Env("NO_COLOR") == "")
	}
	if bad {
		return &failure.Error{Code: failure.Failed} // all has been said
	}
	return nil
}

// checkInside runs the daemon's program, which checks itself. The first result is about the programs. It also returns
// the pools that nobody asked for.
func (a *app) checkInside(ctx context.Context, fix, listening bool) (list []rpc.Check, optional []string) {
	one := func(hint, format string, args ...any) ([]rpc.Check, []string) {
		return []rpc.Check{problem("programs", hint, format, args...)}, nil
	}
	program, err := daemon.Program()
	if err != nil {
		return []rpc.Check{foundError("programs", rpc.CheckProblem, err)}, nil
	}
	args := []string{"doctor", "--json"}
	if fix {
		args = append(args, "--fix")
	}
	if listening {
		args = append(args, "--listening")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	cmd.WaitDelay = 100 * time.Millisecond
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return one("install it again, in the version of runt", "%s cannot be run: %v", program, err)
	}
	var r struct {
		Version  string
		Protocol int
		Checks   []rpc.Check
		Optional []string
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	err = json.NewDecoder(out).Decode(&r)
	if stop() && err == nil { // it may go on for a while, to end its own children
		return append([]rpc.Check{checkPrograms(program, r.Version, r.Protocol)}, r.Checks...), r.Optional
	}
	_ = cmd.Wait()
	if ctx.Err() != nil {
		return one("a disk or a program hangs: runt doctor again, or look by hand",
			"%s did not report within %s", program, doctorLimit)
	}
	if lines := redact.LastLines(stderr.String(), 1); len(lines) > 0 && !strings.Contains(lines[0], rpc.Name+": ") {
		return one(installBoth, "%s crashes: %s", program, lines[0])
	}
	return one(installBoth, "%s has another version than this runt (%s), and no doctor", program, rpc.Version())
}

func checkPrograms(program, version string, protocol int) rpc.Check {
	switch {
	case protocol != rpc.Protocol:
		return problem("programs", installBoth, "%s is version %s (protocol %d), and this runt %s (protocol %d)",
			program, version, protocol, rpc.Version(), rpc.Protocol)
	case version != rpc.Version():
		return warning("programs", installBoth, "%s is version %s, and this runt %s", program, version, rpc.Version())
	}
	return okay("programs", "runt and %s are version %s", program, version)
}

// checkDaemon checks the daemon, and asks it for its pools. If it cannot be asked, why takes the place of what would be
// said about them. It does not ask if that would start a daemon.
func (a *app) checkDaemon(ctx context.Context, listening bool, st service.Status) (
	answering rpc.Check, pools []rpc.PoolStatus, why *rpc.Check,
) {
	none := func(f rpc.Check, format string, args ...any) (rpc.Check, []rpc.PoolStatus, *rpc.Check) {
		return f, nil, new(skipped("pools", format, args...))
	}
	const nobody = "not tested: no daemon answers"
	failed := problem("daemon", "why: runt daemon logs; then: runt service start",
		"not running: its service has failed")
	switch {
	case listening && st.Failed:
		return none(failed, nobody)
	case listening:
		return none(note("daemon", "not running: the service manager starts it when somebody asks"), nobody)
	}
	c, info, err := a.Dial(ctx, nil)
	switch {
	case rpc.KindOf(err) == rpc.KindUnreachable && st.Failed:
		return none(failed, nobody)
	case rpc.KindOf(err) == rpc.KindUnreachable && st.Enabled && !st.OnDemand:
		return none(warning("daemon", "runt service start; why it ended: runt daemon logs",
			"not running, though its service is installed"), nobody)
	case rpc.KindOf(err) == rpc.KindUnreachable:
		text := "not running; runt daemon start starts it"
		if a.Env("RUNTIMED_NO_START") == "" {
			text += ", and so does a command that needs an environment"
		}
		return none(note("daemon", "%s", text), nobody)
	case err != nil:
		return none(skipped("daemon", "not tested: it does not answer; see what is said of socket"), nobody)
	}
	defer c.Close()
	if info.Protocol != rpc.Protocol {
		return none(foundError("daemon", rpc.CheckProblem, daemon.OtherVersion(info)),
			"not tested: the daemon is of another version")
	}
	answering = okay("daemon", "version %s, pid %d, up %s, started by %s",
		info.Version, info.PID, age(time.Duration(info.UptimeMS)*time.Millisecond), startedBy(info))
	switch {
	case info.Replaced:
		answering = warning("daemon", bringNewIn, "version %s (pid %d) runs, but another file is now at %s",
			info.Version, info.PID, info.Program)
	case info.Version != rpc.Version():
		answering = warning("daemon", bringNewIn, "version %s (pid %d) runs, and this runt is %s",
			info.Version, info.PID, rpc.Version())
	}
	var status rpc.StatusResult
	if err := c.Call(ctx, rpc.MethodStatus, rpc.PoolParams{}, &status); err != nil {
		late := foundError("pools", rpc.CheckProblem, daemon.TimedOut(err, info.Socket, doctorLimit))
		return answering, nil, &late
	}
	return answering, status.Pools, nil
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

// checkPools takes it easy with pools that nobody asked for.
func checkPools(pools []rpc.PoolStatus, optional []string) rpc.Check {
	var lines []string
	status, hint, off := rpc.CheckOK, "", 0
	for _, p := range pools {
		line := fmt.Sprintf("%d of %d ready, %d warming", p.Available, p.Target, p.Warming)
		switch {
		case p.Error != nil:
			line = fmt.Sprintf("builds fail (%s): %s; next try %s", p.Error.Cause, p.Error.Message, nextTry(p.Error))
			switch {
			case status == rpc.CheckProblem:
			case slices.Contains(optional, p.Name):
				status, hint = rpc.CheckNote, rpc.UnneededConda(p.Error.Hint)
			default:
				status, hint = rpc.CheckProblem, p.Error.Hint
			}
		case p.Target == 0:
			off++
			line = "off"
		}
		lines = append(lines, p.Name+": "+line)
	}
	if off == len(pools) && status == rpc.CheckOK {
		status, hint = rpc.CheckWarning, "give one a size in the configuration"
	}
	return found("pools", status, hint, "%s", strings.Join(lines, "\n"))
}

// checkStandbys says why kernels start without a standby, and nothing where all is well: they start all the same.
func (a *app) checkStandbys(pools []rpc.PoolStatus) []rpc.Check {
	var lines, faults []string
	for _, p := range pools {
		s := p.Standby
		if s.Target == 0 || p.Target == 0 {
			continue
		}
		if s.Why != "" {
			lines = append(lines, p.Name+": "+standbyText(s))
		}
		for _, warning := range s.Warnings {
			faults = append(faults, p.Name+": "+warning)
		}
	}
	if a.Env("RUNTIMED_STANDBY") == "0" {
		lines = append(lines, "RUNTIMED_STANDBY is 0 here, so kernels that this shell starts use none")
	}
	const name = "standby"
	switch text := strings.Join(append(lines, faults...), "\n"); {
	case len(faults) > 0:
		const hint = "correct preload or packages of the pool; then: runt daemon reload"
		return []rpc.Check{warning(name, hint, "%s", text)}
	case text != "":
		return []rpc.Check{note(name, "%s", text)}
	}
	return nil
}

// findService comes first: if the manager listens for a daemon that does not run, connecting would start it.
func (a *app) findService(ctx context.Context) (rpc.Check, service.Status) {
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	s, err := a.Service()
	if err != nil {
		return skipped("service", "not tested: %s", failure.Of(err).Message), service.Status{}
	}
	st, err := s.Status(ctx, s.Config)
	if err == nil && st.Installed && st.Trouble == nil && (!st.Enabled || !st.UpToDate) {
		_, err = s.Install(ctx, s.Config) // fails if somebody else wrote its files
	}
	if err != nil {
		return foundError("service", rpc.CheckWarning, err), st
	}
	other := st.Installed && st.Running && !st.UpToDate && a.differsInProgram(ctx, s, st.PID)
	return checkService(st, other), st
}

// checkService judges a service; other: it starts the daemon of another runt.
func checkService(st service.Status, other bool) rpc.Check {
	const name = "service"
	text := "installed and enabled, up to date"
	if st.Package {
		text = "the package's, enabled for every user"
	}
	switch {
	case !st.Installed && st.Trouble != nil:
		return found(name, rpc.CheckNote, st.Trouble.Hint, "not installed, and could not be: %s", st.Trouble.Message)
	case !st.Installed:
		return note(name, "not installed; runt service install makes the daemon start at login")
	case st.Trouble != nil && st.Trouble.Absent:
		return problem(name, "runt service uninstall; "+st.Trouble.Hint, "installed, but %s", st.Trouble.Message)
	case st.Trouble != nil:
		return warning(name, st.Trouble.Hint, "installed, but its manager cannot be used from here: %s",
			st.Trouble.Message)
	case !st.Enabled:
		return warning(name, "runt service install enables it",
			"installed, but not enabled: nothing starts the daemon at login")
	case other:
		return note(name, "installed and enabled; it starts the daemon of another runt, of the same version")
	case !st.UpToDate:
		return warning(name, "runt service install --dry-run shows them, runt service install writes them",
			"installed, but its files are not what this runt and this shell would write")
	}
	if st.OnDemand {
		text += "; the daemon starts when somebody first asks"
	}
	if st.Linger != nil && !*st.Linger {
		text += "; it ends when you log out for good (loginctl enable-linger keeps it)"
	}
	return okay(name, "%s", text)
}

// differsInProgram reports whether the service whose daemon runs is as this runt would write it, but for the place of
// the daemon: there is a runt in a clone, say, and one that pip has installed.
func (a *app) differsInProgram(ctx context.Context, s *daemon.Service, pid int) bool {
	info, err := a.Info(ctx)
	if err != nil || info.PID != pid || info.Version != rpc.Version() {
		return false
	}
	other := s.Config
	other.Program, other.Copies = info.Program, nil
	st, err := s.Status(ctx, other)
	return err == nil && st.UpToDate
}

// checkKernelspecs finds kernels that cannot start.
func (a *app) checkKernelspecs() []rpc.Check {
	var lines []string
	for _, dir := range kernel.Dirs(a.Env) {
		for _, s := range kernel.SpecsIn(dir) {
			if !s.RuntExists {
				lines = append(lines, fmt.Sprintf("%s starts %s, which is gone", s.Path, s.Runt))
			}
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return []rpc.Check{warning("kernelspecs",
		"update them with: runt kernelspec install; or remove them with: runt kernelspec remove",
		"%s", strings.Join(lines, "\n"))}
}
