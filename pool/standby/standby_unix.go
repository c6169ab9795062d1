//go:build unix

package standby

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runtimed/internal/launch"
	"runtimed/internal/tool"
)

// These follow each other in one text.
//
//go:embed preload.py
var preloadScript string

//go:embed order.py
var orderScript string

//go:embed place.py
var placeScript string

//go:embed standby.py
var standbyScript string

const (
	outputTime = 2 * time.Second // for what holds a standby's output after its end
	endTime    = 2 * time.Second // for a standby that ends by itself, unless an import holds it up
)

// Process is a Python that has passed the import check and stayed.
type Process struct {
	pid int

	cmd      *exec.Cmd
	lifeline *net.UnixConn
	lines    *bufio.Reader
	output   tool.Tail
	ended    chan struct{}

	mu      sync.Mutex // guards what follows
	gone    bool       // it was waited for
	stays   bool       // it may become a kernel
	adopted bool
	caller  *os.File // the connection of a kernel's caller, which is told how the kernel ended
}

// PID is its number, also once it is a kernel.
func (p *Process) PID() int { return p.pid }

// Start runs the import check in the environment, and returns the process, which stays until it is ended. The error is
// that of ctx, or an *exec.ExitError or the like, with the output.
func Start(ctx context.Context, c Command) (p *Process, says Says, output string, err error) {
	p = &Process{ended: make(chan struct{})}
	if err := p.start(c); err != nil {
		return nil, says, "", err
	}
	stop := context.AfterFunc(ctx, p.End)
	line, err := p.lines.ReadBytes('\n')
	closed := err != nil
	if err == nil {
		err = json.Unmarshal(line, &says)
	}
	if stop(); err == nil && ctx.Err() == nil {
		return p, says, "", nil
	}
	if closed { // it is ending, and then its streams and its exit code have the reason
		select {
		case <-p.ended:
		case <-time.After(endTime):
		}
	}
	p.End()
	<-p.ended
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case !p.cmd.ProcessState.Success():
		err = &exec.ExitError{ProcessState: p.cmd.ProcessState}
	default:
		err = fmt.Errorf("its answer cannot be read: %w", err)
	}
	return nil, says, p.output.String(), err
}

func (p *Process) start(c Command) error {
	script, err := launch.File(strings.Join(
		[]string{CheckScript, launch.Script, launch.BatchScript(), preloadScript, orderScript, placeScript,
			standbyScript}, "\n"))
	if err != nil {
		return err
	}
	defer script.Close()
	syscall.ForkLock.RLock() // else a child that is started meanwhile would keep them, and a standby its daemon's end
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	ours, its := os.NewFile(uintptr(pair[0]), "lifeline"), os.NewFile(uintptr(pair[1]), "lifeline")
	defer its.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return err
	}
	p.lifeline, p.lines = conn.(*net.UnixConn), bufio.NewReader(conn)
	args := []string{"-c", launch.Boot(3, "runtimed-standby"), "stay"}
	if tool.Lookup(c.Vars, "LC_CTYPE") != "" {
		args = append(args, "LC_CTYPE")
	}
	args = append(args, c.Args...)
	p.cmd = exec.Command(c.Python, args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, append(c.Vars[:len(c.Vars):len(c.Vars)], MarkEnv+"="+c.Env)
	p.cmd.ExtraFiles = []*os.File{script, its}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.cmd.WaitDelay = outputTime
	if err := p.cmd.Start(); err != nil {
		_ = conn.Close()
		return err
	}
	p.pid = p.cmd.Process.Pid
	go p.reap()
	return nil
}

// reap waits for the end of the process, and tells a kernel's caller of it.
func (p *Process) reap() {
	_ = p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	if !p.adopted { // what it started ahead
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.tellCallerLocked()
	close(p.ended)
}

// tellCallerLocked tells a kernel's caller how the kernel ended, if there is one and it has.
func (p *Process) tellCallerLocked() {
	if p.caller == nil || !p.gone {
		return
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	end := map[string]int{"exit": status.ExitStatus()}
	if status.Signaled() {
		end = map[string]int{"signal": int(status.Signal())}
	}
	line, _ := json.Marshal(end) // two numbers always marshal
	_, _ = p.caller.Write(append(line, '\n'))
	_ = p.caller.Close()
	p.caller = nil
}

// Stay has the process import the modules and wait for an order on the listener, whose path it removes when it becomes
// a kernel. The listener is closed here. Events come from another goroutine, the end last.
func (p *Process) Stay(listener *net.UnixListener, path string, modules []string, event func(Event)) error {
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	if modules == nil {
		modules = []string{}
	}
	task, err := json.Marshal(map[string]any{"path": path, "preload": modules})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.stays = true
	p.mu.Unlock()
	if _, _, err := p.lifeline.WriteMsgUnix(task, unix.UnixRights(int(file.Fd())), nil); err != nil {
		return err
	}
	go p.follow(event)
	return nil
}

// told is a line of a standby's.
type told struct {
	Ready   *bool              `json:"ready"`
	Faults  []string           `json:"faults"`
	Without string             `json:"without"`
	Adopted bool               `json:"adopted"`
	Refused string             `json:"refused"`
	Wanted  map[string]*string `json:"wanted"`
}

func (p *Process) follow(event func(Event)) {
	var faults []string
	without, in := "", heard{}
	for p.lines.Buffered() == 0 { // else more than the check's answer came
		line, err := in.line(p.lifeline)
		var t told
		if err != nil || json.Unmarshal(line, &t) != nil {
			break
		}
		switch {
		case t.Ready != nil:
			faults, without = t.Faults, t.Without
			if *t.Ready {
				event(Event{Ready: true, Faults: faults})
			}
		case t.Adopted:
			p.adopt(in.descriptors)
			in.descriptors = nil
			event(Event{Adopted: true})
		case t.Refused != "":
			event(Event{Refused: t.Refused, Wanted: t.Wanted})
		}
	}
	p.kill()
	_ = p.lifeline.Close()
	for _, fd := range in.descriptors {
		_ = unix.Close(fd)
	}
	<-p.ended
	event(Event{Ended: true, Faults: faults, Without: without, Output: p.output.String()})
}

// heard is what has come from a standby and is not read yet. Several lines may come at once.
type heard struct {
	text        []byte
	descriptors []int
}

// line reads a line, and the descriptors that come with it.
func (h *heard) line(from *net.UnixConn) ([]byte, error) {
	space := make([]byte, unix.CmsgSpace(4*4))
	for {
		if line, rest, whole := bytes.Cut(h.text, []byte("\n")); whole {
			h.text = rest
			return line, nil
		}
		part := make([]byte, 64<<10)
		n, oobn, _, _, err := from.ReadMsgUnix(part, space)
		if err != nil {
			return nil, err
		}
		messages, _ := unix.ParseSocketControlMessage(space[:oobn])
		for _, m := range messages {
			got, _ := unix.ParseUnixRights(&m)
			h.descriptors = append(h.descriptors, got...)
		}
		if h.text = append(h.text, part[:n]...); n == 0 || len(h.text) > 8<<20 {
			return nil, errors.New("the standby hung up")
		}
	}
}

func (p *Process) adopt(descriptors []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adopted = true
	for i, fd := range descriptors {
		unix.CloseOnExec(fd)
		if i == 0 {
			p.caller = os.NewFile(uintptr(fd), "caller")
		} else {
			_ = unix.Close(fd)
		}
	}
	p.tellCallerLocked() // it may have ended before this was heard
}

// End ends a process that is not a kernel, with what it started. One that became a kernel in the same moment is not
// touched: it tells of that before the end of the lifeline. End may be called again.
func (p *Process) End() {
	if !p.mayBeKernel() {
		p.kill()
		_ = p.lifeline.Close()
		return
	}
	_ = p.lifeline.CloseWrite()
	time.AfterFunc(endTime, p.kill)
}

func (p *Process) mayBeKernel() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stays
}

func (p *Process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.adopted && !p.gone {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}
