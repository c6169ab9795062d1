//go:build unix

package kernel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runtimed/internal/command"
	"runtimed/internal/daemon"
	"runtimed/internal/launch"
	"runtimed/internal/proc"
	"runtimed/rpc"
)

// whyPlain says why this process needs a kernel of its own start; empty if a standby would be the same.
func whyPlain(env func(string) string) string {
	if env("RUNTIMED_STANDBY") == "0" {
		return "RUNTIMED_STANDBY is 0"
	}
	if self, err := proc.OwnerOf(os.Getpid()); err != nil || self.Terminal != 0 {
		return "it was started from a terminal, which it would not have"
	}
	if job := launch.BatchJob(env); job != "" {
		return "it is part of a batch job (" + job + ")"
	}
	if blocksSignals() {
		return "it was started with signals blocked, which would not be"
	}
	if n := len(inherited()); n > mostInherited {
		return fmt.Sprintf("it was started with %d descriptors", n)
	}
	asking.Go(func() { _, _ = openFiles() })
	return ""
}

const mostInherited = 64 // descriptors; the system sends 253 at once

// inherited are the descriptors beyond the three streams that a program started by this one would get. Electron leaves
// its programs some.
func inherited() []int {
	list := []int{}
	entries, _ := os.ReadDir("/dev/fd") // without it, the streams must do
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}

// order describes the kernel that this process would become.
func (k *Kernel) order(environ []string, release rpc.ReleaseAt) (rpc.Order, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return rpc.Order{}, err
	}
	bounds, err := limits()
	if err != nil {
		return rpc.Order{}, err
	}
	o := rpc.Order{
		Order: rpc.OrderVersion, CWD: rpc.Bytes(cwd), Umask: umask(), Nice: niceness(), Limits: bounds,
		Ignored: ignored(), Listen: []string{}, Release: &release, Descriptors: inherited(),
		Banner: k.Banner,
	}
	for _, arg := range append([]string{"-f", k.File}, k.Args...) {
		o.Argv = append(o.Argv, rpc.Bytes(arg))
	}
	for _, v := range environ {
		o.Environ = append(o.Environ, rpc.Bytes(v))
	}
	for _, l := range k.listeners {
		o.Listen = append(o.Listen, l.addr)
	}
	return o, nil
}

func umask() int {
	if data, err := os.ReadFile("/proc/self/status"); err == nil {
		if _, rest, found := strings.Cut(string(data), "\nUmask:"); found {
			var mask int
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%o", &mask); err == nil {
				return mask
			}
		}
	}
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return mask
}

func niceness() int {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	switch {
	case err != nil:
		return 0
	case runtime.GOOS == "linux":
		return 20 - n // as the system call has it
	}
	return n
}

// openFiles is the limit of open files that this process was started with. Go has raised the soft one, and restores it
// for children; a shell is asked while the daemon is.
var openFiles = sync.OnceValues(func() (l unix.Rlimit, err error) {
	out, err := exec.Command("/bin/sh", "-c", "ulimit -Sn; ulimit -Hn").Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) != 2 {
		return l, fmt.Errorf("the limit of open files is not known: %w", err)
	}
	for i, to := range []*uint64{&l.Cur, &l.Max} {
		if *to = unlimited; words[i] != "unlimited" {
			if *to, err = strconv.ParseUint(words[i], 10, 64); err != nil {
				return l, err
			}
		}
	}
	return l, nil
})

// asking ends with the shell that openFiles asks. If this process became the kernel before, the shell would stay as the
// kernel's child, and ipykernel waits for those when it shuts down.
var asking sync.WaitGroup

func limits() (list []rpc.RLimit, err error) {
	for number, name := range limitNames {
		var l unix.Rlimit
		if unix.Getrlimit(number, &l) != nil {
			continue
		}
		if number == unix.RLIMIT_NOFILE {
			if l, err = openFiles(); err != nil {
				return nil, err
			}
		}
		bound := func(n uint64) *uint64 {
			if n == unlimited {
				return nil
			}
			return &n
		}
		list = append(list, rpc.RLimit{Name: name, Soft: bound(l.Cur), Hard: bound(l.Max)})
	}
	return list, nil
}

// ignored are the signals that were ignored when this process began. Go's runtime has replaced most, so those come from
// the process that started this one, unless that ignores them for itself alone, as shells do. Python resets two for the
// programs that it starts.
func ignored() []int {
	list := []int{}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			list = append(list, int(s))
		}
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", os.Getppid()))
	if err != nil {
		return list
	}
	_, rest, _ := strings.Cut(string(data), "\nSigIgn:")
	var mask uint64
	if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%x", &mask); err != nil {
		return list
	}
	has := func(s syscall.Signal) bool { return mask&(1<<(s-1)) != 0 }
	if has(syscall.SIGTSTP) && has(syscall.SIGTTIN) && has(syscall.SIGTTOU) { // a shell with job control
		return list
	}
	others := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGXFSZ,
		syscall.SIGCHLD, 32, 33} // how the parent waits for its children, and the C library's own
	if shell, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid())); filepath.Base(shell) == "bash" {
		others = append(others, syscall.SIGQUIT) // which it always ignores
	}
	for s := syscall.Signal(1); s <= 64; s++ {
		if has(s) && !slices.Contains(others, s) {
			list = append(list, int(s))
		}
	}
	return list
}

// adopt has the standby become the kernel, and ends this process as the kernel does. The error says why there must be a
// plain one.
func (k *Kernel) adopt(d *daemon.Control, client *rpc.Client, r rpc.AcquireResult, release rpc.ReleaseAt) error {
	o, err := k.order(command.Environ(os.Environ(), r.Env), release)
	if err != nil {
		return err
	}
	line, err := o.Line()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.Ctx, rpc.ReceiptTime)
	defer cancel()
	conn, err := rpc.DialPath(ctx, r.Standby.Socket)
	if err != nil {
		return err
	}
	descriptors := []int{0, 1, 2}
	for _, l := range k.listeners {
		descriptors = append(descriptors, int(l.file.Fd()))
	}
	descriptors = append(descriptors, o.Descriptors...)
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	n, _, err := conn.WriteMsgUnix(line, unix.UnixRights(descriptors...), nil)
	if err == nil && n < len(line) {
		_, err = conn.Write(line[n:])
	}
	lines := bufio.NewReader(conn)
	var receipt rpc.Receipt
	if err == nil {
		var answer []byte
		if answer, err = lines.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(answer, &receipt)
		}
	}
	switch {
	case err != nil:
		_ = conn.Close()
		_ = syscall.Kill(r.Standby.PID, syscall.SIGKILL) // it may still become a kernel
		return fmt.Errorf("the standby does not answer: %w", err)
	case receipt.Started == 0:
		_ = conn.Close()
		return errors.New(receipt.Refused)
	}
	_ = conn.SetDeadline(time.Time{})
	client.Close() // a kernel does without a daemon
	k.closeListeners()
	follow(d, conn, lines, receipt.Started)
	return nil
}

// forwarded are the signals that mean the kernel.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT,
	syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGIO, syscall.SIGWINCH, syscall.SIGTSTP,
}

// lastSignal is the one to die of if nobody tells how the kernel ended: the last fatal one that was passed on.
var lastSignal atomic.Int32

// lastWordsTime is for the news of how a kernel ended, after its end.
const lastWordsTime = time.Second

// follow is the kernel, as its front-end sees it: it passes signals on, and ends as the kernel does. If this process
// ends first, the kernel's connection ends, and with it the kernel.
func follow(d *daemon.Control, conn *net.UnixConn, lines *bufio.Reader, pid int) {
	lastSignal.Store(int32(syscall.SIGKILL))
	signals := make(chan os.Signal, 16)
	for _, s := range forwarded {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	to := pid
	// A front-end may mean the group of what it has started, this process or its parent: the kernel and what that has
	// started in turn.
	session, _ := unix.Getsid(0)
	if group := unix.Getpgrp(); group == os.Getpid() || group == os.Getppid() && group == session {
		to = -pid
	}
	if d.Ctx.Err() != nil { // a SIGTERM came before the receipt
		signals <- syscall.SIGTERM
	}
	ended := make(chan struct{})
	go func() {
		for s := range signals {
			select {
			case <-ended: // the number may be another group's
			default:
				_ = syscall.Kill(to, s.(syscall.Signal))
				if s == syscall.SIGTERM {
					lastSignal.Store(int32(syscall.SIGTERM))
				}
			}
		}
	}()
	if parent := d.Env("JPY_PARENT_PID"); parent != "" {
		go func() {
			parentGone(context.Background(), parent)
			os.Exit(1) // as ipykernel does then
		}()
	}
	stop := proc.ThisMachine.OnExit(pid, func() { _ = conn.SetReadDeadline(time.Now().Add(lastWordsTime)) })
	defer stop()
	var end rpc.KernelEnd
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e rpc.KernelEnd
		if json.Unmarshal(line, &e) == nil {
			end = e // the daemon's, which knows it, comes after the kernel's own
		}
	}
	close(ended)
	endAs(end)
}

// endAs ends this process as the kernel ended.
func endAs(end rpc.KernelEnd) {
	switch {
	case end.Exit != nil:
		os.Exit(*end.Exit)
	case end.Signal == nil:
		dieOf(syscall.Signal(lastSignal.Load()))
	default:
		dieOf(syscall.Signal(*end.Signal))
	}
}

// dieOf ends this process by a signal, without a core file of its own. Go keeps its own handlers of most signals, so a
// shell takes its place first.
func dieOf(s syscall.Signal) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	script := fmt.Sprintf("kill -%d $$; exit %d", s, 128+int(s))
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", script}, []string{})
	os.Exit(128 + int(s))
}

// plain becomes a kernel of its own start.
func (k *Kernel) plain(r rpc.AcquireResult, release rpc.ReleaseAt) error {
	listening := map[string]int{}
	for _, l := range k.listeners {
		listening[l.addr] = int(l.file.Fd())
	}
	text, err := k.script(map[string]any{"listeners": listening, "release": release, "ignored": ignored()})
	if err != nil {
		return err
	}
	script, err := launch.File(text)
	if err != nil {
		return err
	}
	for _, l := range k.listeners {
		if _, err := unix.FcntlInt(l.file.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	if _, err := unix.FcntlInt(script.Fd(), unix.F_SETFD, 0); err != nil {
		return err
	}
	asking.Wait()
	argv := []string{r.Env.Python, "-c", launch.Boot(int(script.Fd()), "runtimed-kernel"), "-f", k.File}
	return command.Become(r.Env.Python, append(argv, k.Args...), command.Environ(os.Environ(), r.Env), nil)
}
