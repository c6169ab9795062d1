package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/safefile"
	"runtimed/internal/tool"
	"runtimed/rpc"
	"runtimed/service"
)

const startTime = 10 * time.Second // for a new daemon to answer

// ConnectOrStart connects to a daemon, and starts one if that is not forbidden.
func (d *Control) ConnectOrStart(p Progress) (*rpc.Client, error) {
	c, err := d.connectOrStart(d.Env(noStartVariable) != "", p)
	return c, d.sayHow(err, "or unset "+noStartVariable)
}

// connectOrStart has another runt start the daemon: this one may become somebody else's command, which must not find a
// child that it does not know.
func (d *Control) connectOrStart(noStart bool, p Progress) (*rpc.Client, error) {
	c, _, err := d.connect(p.Notify)
	if noStart || rpc.KindOf(err) != rpc.KindUnreachable {
		return c, err
	}
	if p.Say != nil {
		p.Say("starting the daemon")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, failure.New("starting the daemon: %v", err).WithHint(
			"on Linux, /proc must be mounted: mount -t proc proc /proc")
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(d.Ctx, self, "daemon", "start", "--auto")
	cmd.Stderr = &stderr
	if d.Detached {
		cmd.SysProcAttr = detached()
	}
	if err := cmd.Run(); err != nil {
		f := failure.With(max(1, cmd.ProcessState.ExitCode()), "starting the daemon: %v", err)
		f.Quote("runt", stderr.String())
		return nil, f
	}
	c, _, err = d.Connect(p.Notify)
	return c, err
}

// Launch starts a daemon. When it returns nil one runs, whoever started it. A child that ends at once may have lost the
// lock to another starter's, so Launch goes on dialling, or to a daemon that is stopping, so it starts another.
func (d *Control) Launch(auto bool, flags ...string) error {
	if err := d.CheckHome(); err != nil {
		return err
	}
	if _, err := config.LoadToStart(config.Flags{}, d.Env); err != nil && len(flags) == 0 {
		return err // in its own words
	}
	program, err := Program()
	if err != nil {
		return err
	}
	args := append([]string{"run"}, flags...)
	if auto {
		args = append(args, "--auto")
	}
	ctx, cancel := context.WithTimeout(d.Ctx, startTime)
	defer cancel()
	alone, said := 0, (*child)(nil)
	for patience := 250 * time.Millisecond; ; patience *= 2 {
		child, err := launch(program, args)
		if err != nil {
			return failure.New("starting %s: %v", program, err).WithHint("install it again, for this machine")
		}
		defer child.stderr.Close()
		info, err := d.waitForAnswer(ctx, child.ended, patience)
		if err == nil && info.PID != child.process.Pid { // ours would take its place later
			_ = child.process.Kill() // loses nothing, even if the daemon has the lock
			<-child.ended
			_, err = d.waitForAnswer(ctx, child.ended, patience)
		}
		if err != errNoAnswer {
			return err
		}
		if ctx.Err() != nil {
			if said != nil && !child.hasEnded() {
				child = said // this one was given no time
			}
			return d.startFailure(child, "the daemon did not answer within "+startTime.String())
		}
		if !d.LockHeld() {
			if alone++; alone == 2 {
				return d.startFailure(child, "the daemon ended at once: "+child.state.String())
			}
		}
		said = child
	}
}

var errNoAnswer = errors.New("nobody answers")

// waitForAnswer dials until a daemon answers, or fails with errNoAnswer when ctx is done or patience is over. Patience
// begins when ended is closed.
func (d *Control) waitForAnswer(ctx context.Context, ended <-chan struct{}, patience time.Duration) (rpc.Info, error) {
	var enough <-chan time.Time
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		info, err := d.Info(ctx)
		if err == nil || failure.Of(err).Code != failure.Unreachable {
			return info, err
		}
		select {
		case <-time.After(pause):
		case <-ended:
			ended, enough = nil, time.After(patience)
		case <-enough:
			return info, errNoAnswer
		case <-ctx.Done():
			return info, errNoAnswer
		}
	}
}

type child struct {
	process *os.Process
	ended   chan struct{}
	state   *os.ProcessState // once it has ended
	stderr  *os.File         // its first words, or nil; writing to a pipe without a reader would end it
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func launch(program string, args []string) (*child, error) {
	c := &child{ended: make(chan struct{})}
	cmd := exec.Command(program, args...)
	cmd.Dir = string(filepath.Separator) // it must not keep a folder from being unmounted
	cmd.SysProcAttr = detached()
	if f, err := scratchFile(); err == nil {
		c.stderr, cmd.Stderr = f, f
	}
	tool.KeepFiles()
	if err := cmd.Start(); err != nil {
		_ = c.stderr.Close()
		return nil, err
	}
	c.process = cmd.Process
	go func() {
		_ = cmd.Wait() // however it ended, it has
		c.state = cmd.ProcessState
		close(c.ended)
	}()
	return c, nil
}

// startFailure says why a daemon did not start, in its own words if it said any. It may have been unable to write a
// log.
func (d *Control) startFailure(c *child, message string) error {
	f := failure.New("%s", message)
	text, _ := io.ReadAll(io.NewSectionReader(c.stderr, 0, 64<<10))
	f.Quote(rpc.Name, string(text))
	if path, err := d.LogFile(); err == nil && safefile.Exists(path) {
		return f.OrHint("look further with: runt daemon logs")
	}
	return f.OrHint("see what it does with: runtimed run --log-level debug")
}

// Program is the runtimed beside this runt, else the one on PATH.
func Program() (string, error) {
	name := "runtimed" + tool.Exe
	if self, err := os.Executable(); err == nil {
		places := []string{filepath.Dir(self)}
		if real, err := filepath.EvalSymlinks(self); err == nil {
			places = append(places, filepath.Dir(real))
		}
		for _, dir := range places {
			if path := filepath.Join(dir, name); tool.Executable(path) {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", failure.New("%s is neither beside runt nor on PATH", name).WithHint("install it beside runt")
	}
	return filepath.Abs(path)
}

// namesOf are paths by which people know a program: beside runt as it was called, then on PATH. They outlive an
// upgrade.
func (d *Control) namesOf(program string) []string {
	var paths []string
	if us := calledAs(); us != "" {
		paths = append(paths, filepath.Join(filepath.Dir(us), program))
	}
	for _, dir := range filepath.SplitList(d.Env("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, program))
		}
	}
	return paths
}

// LastingRunt is the path by which front-ends start runt. It outlives an upgrade if there is such a path; otherwise why
// says what is wrong with its place.
func (d *Control) LastingRunt() (path, why string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	names := d.namesOf("runt" + tool.Exe)
	path, _, why = service.Settle(self, names, d.Env)
	if why == "" {
		return path, "", nil
	}
	if us := calledAs(); us != "" {
		names = slices.Insert(names, 0, us)
	}
	mine, _ := os.Stat(self)
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && os.SameFile(info, mine) {
			return name, why, nil
		}
	}
	return self, why, nil
}

func calledAs() string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return ""
	}
	return path
}
