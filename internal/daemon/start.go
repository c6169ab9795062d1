package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/rpc"
)

const startTime = 10 * time.Second // for a new daemon to answer

// connectOrStart is for commands that need an environment. The daemon is started by another runt: this one may
// become somebody else's command, which must not find a child that it does not know.
func (d *Control) connectOrStart(p Progress) (*rpc.Client, error) {
	c, _, err := d.Connect(p.Notify)
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return c, err
	}
	p.starting()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd := exec.CommandContext(d.Ctx, self, "daemon", "start", "--auto")
	cmd.Stderr = &said
	if d.Detached {
		cmd.SysProcAttr = detached()
	}
	if err := cmd.Run(); err != nil {
		f := failure.With(max(1, cmd.ProcessState.ExitCode()), "starting the daemon: %v", err)
		f.Quote("runt", said.String())
		return nil, f
	}
	c, _, err = d.Connect(p.Notify)
	return c, err
}

// Launch has a daemon running when it returns nil, whoever started it. A child that ends at once may have lost the
// lock to another starter's, so we go on dialling; or to one that is just stopping, so after a while we start another.
func (d *Control) Launch(auto bool, flags ...string) error {
	if err := d.CheckHome(); err != nil {
		return err
	}
	if _, err := config.Load(config.Flags{}, d.Env); err != nil && len(flags) == 0 {
		return err // at once, and in its own words
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
	patience, alone := 250*time.Millisecond, 0
	for {
		child, err := launch(program, args)
		if err != nil {
			return failure.New("starting %s: %v", program, err)
		}
		info, err := d.waitForAnswer(ctx, child.ended, patience)
		if err == nil && info.PID != child.process.Pid { // ours would take the place of that one as soon as it is stopped
			child.kill()
			_, err = d.waitForAnswer(ctx, child.ended, patience)
		}
		if err != errNoAnswer {
			child.forget()
			return err
		}
		if ctx.Err() != nil {
			return child.failure("the daemon did not answer within " + startTime.String())
		}
		if !d.LockHeld() {
			if alone++; alone == 2 {
				return child.failure("the daemon ended at once")
			}
		}
		child.forget()
		patience *= 2
	}
}

var errNoAnswer = errors.New("nobody answers")

// waitForAnswer dials until a daemon answers; patience begins when our child has ended. It returns errEnded where none does.
func (d *Control) waitForAnswer(ctx context.Context, ended <-chan struct{}, patience time.Duration) (rpc.Info, error) {
	var enough <-chan time.Time
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		c, info, err := d.Meet(ctx, nil)
		if err == nil {
			c.Close()
			return info, nil
		}
		if f := failure.Of(err); f.Code != failure.Unreachable {
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

// child is a runtimed that we started.
type child struct {
	process *os.Process
	ended   chan struct{}
	stderr  *os.File // its first words; a file, because writing to a pipe whose reader is gone would end it
}

func launch(program string, args []string) (*child, error) {
	d := &child{ended: make(chan struct{})}
	cmd := exec.Command(program, args...)
	cmd.Dir = string(filepath.Separator) // so that it keeps no folder from being unmounted
	cmd.SysProcAttr = detached()
	if f, err := os.CreateTemp("", "runtimed-start-"); err == nil {
		os.Remove(f.Name())
		d.stderr, cmd.Stderr = f, f
	}
	keepFiles()
	if err := cmd.Start(); err != nil {
		d.forget()
		return nil, err
	}
	d.process = cmd.Process
	go func() {
		cmd.Wait()
		close(d.ended)
	}()
	return d, nil
}

// kill ends a daemon that has lost the lock, or has not come to it; one that has it loses nothing by that either.
func (d *child) kill() {
	_ = d.process.Kill() // it may have ended by itself
	<-d.ended
}

func (d *child) forget() {
	if d.stderr != nil {
		d.stderr.Close()
	}
}

// failure is what the daemon said, else message.
func (d *child) failure(message string) error {
	defer d.forget()
	f := failure.New("%s", message)
	if d.stderr != nil {
		said, _ := io.ReadAll(io.NewSectionReader(d.stderr, 0, 64<<10))
		f.Quote(rpc.Name, string(said))
	}
	return f.OrHint("look further with: runt daemon logs")
}
