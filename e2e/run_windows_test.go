//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"runtimed/rpc"
)

func pidText() string { return strconv.Itoa(os.Getpid()) }

// ran runs a program to its end.
func ran(t testing.TB, env []string, input, program string, args ...string) said {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(input), &out, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return said{out.String(), stderr.String(), int(uint32(cmd.ProcessState.ExitCode()))}
}

func TestWindowsTheFirstAcquireStartsADaemonAndTheNextIsAnsweredAtOnce(t *testing.T) {
	h := newHouse(t).withStandIn()
	h.configure(quickly + "1\n")
	python := strings.TrimSpace(h.runt("pool", "acquire", "--owner-pid", pidText()))
	id := filepath.Base(filepath.Dir(filepath.Dir(python)))
	if !strings.EqualFold(python, h.state("envs", id, `Scripts\python.exe`)) || !isThere(python) {
		t.Errorf("it printed %q", python)
	}
	h.filled("uv", time.Minute)
	var next rpc.AcquireResult
	check(t, json.Unmarshal([]byte(h.runt("pool", "acquire", "--json", "--wait", "0s", "--owner-pid", pidText())),
		&next))
	if next.Source != rpc.SourceReady || next.Env.ID == id || next.Env.State != rpc.EnvLeased {
		t.Errorf("%+v", next)
	}
	if s := h.runt("pool", "release", id, next.Env.ID); s != "released "+id+"\nreleased "+next.Env.ID+"\n" {
		t.Error(s)
	}
	h.eventually(time.Minute, "both are removed", func() bool { return !isThere(python) && !isThere(next.Env.Path) })
}

func TestWindowsRunEndsWithTheExitCodeOfItsCommand(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, "1")
	for _, code := range []string{"0", "1", "3", "255", "0xC0000005", "0xFFFFFFFF"} { // the fifth is a crash's
		want, err := strconv.ParseUint(code, 0, 32)
		check(t, err)
		if s := ran(t, h.env, "", runtProgram, "run", "--", "python", "exit", code); s != (said{code: int(want)}) {
			t.Errorf("%s: %#x: %+v", code, s.code, s)
		}
	}
	if s := h.try("run", "--", "no such program"); s.code != 127 || !strings.Contains(s.err, "no such program") {
		t.Errorf("%+v", s)
	}
	h.eventually(time.Minute, "all environments are given back", func() bool { return h.pool("uv").Leased == 0 })
}

// holder is runt run with a command that holds its environment.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	pid int // of the command
}

func (h *house) hold() *holder {
	h.t.Helper()
	o := &holder{cmd: exec.Command(runtProgram, "run", "--", "python", "hold")}
	o.cmd.Env, o.cmd.Dir = h.env, h.home
	var err error
	o.in, err = o.cmd.StdinPipe()
	check(h.t, err)
	out, err := o.cmd.StdoutPipe()
	check(h.t, err)
	check(h.t, o.cmd.Start())
	h.t.Cleanup(func() {
		_ = o.in.Close()
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	check(h.t, err)
	_, err = fmt.Sscanf(line, "holds %d", &o.pid)
	check(h.t, err)
	return o
}

func TestWindowsTheLeaseOfAnOwnerThatEndsOrIsKilledEndsSoon(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, "2")
	ends, killed := h.hold(), h.hold()
	if got := h.pool("uv").Leased; got != 2 {
		t.Fatalf("%d are leased", got)
	}
	check(t, ends.in.Close())
	h.eventually(10*time.Second, "the lease of the one that ended has ended", func() bool {
		return h.pool("uv").Leased == 1
	})
	check(t, killed.cmd.Process.Kill())
	h.eventually(10*time.Second, "the command has ended with it", func() bool { return !lives(killed.pid) })
	h.eventually(10*time.Second, "the lease of the one that was killed has ended", func() bool {
		return h.pool("uv").Leased == 0
	})

	owner := sleeper(t)
	env := h.acquireFor(owner)
	check(t, owner.Process.Kill())
	h.eventually(10*time.Second, "the lease of a killed owner has ended", func() bool {
		return !isThere(env.Path)
	})
}

// terminal is the variable that makes this program a terminal in which runt runs, and in which somebody types Ctrl-C
// when the command (saysALine) or the test (isTold) says a line.
const (
	terminal  = "RUNTIMED_TEST_TERMINAL"
	saysALine = "command"
	isTold    = "test"
)

func init() {
	when := os.Getenv(terminal)
	if when == "" {
		return
	}
	err := os.Unsetenv(terminal) // the command may be this program too
	if err == nil {
		err = typeInterrupt(when)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(0)
}

// typeInterrupt runs what its arguments say, types Ctrl-C at the right time, and prints how that ended.
func typeInterrupt(when string) error {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // it is not for us
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	sign := lines
	if when == isTold {
		sign = bufio.NewReader(os.Stdin)
	}
	if _, err := sign.ReadString('\n'); err != nil {
		return err
	}
	if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_C_EVENT, 0); err != nil {
		return fmt.Errorf("typing: %w", err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		return err
	}
	err = cmd.Wait()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	fmt.Printf("%d %s", cmd.ProcessState.ExitCode(), rest)
	return nil
}

// interrupted runs runt in a console of its own where somebody types Ctrl-C: once the command has said a line, or after
// await, if that is not nil.
func (h *house) interrupted(await func(), args ...string) said {
	h.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command(os.Args[0], append([]string{runtProgram}, args...)...)
	cmd.Env = append(h.env, terminal+"="+saysALine)
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.home, &out, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW}
	if await != nil {
		cmd.Env = append(h.env, terminal+"="+isTold)
		in, err := cmd.StdinPipe()
		check(h.t, err)
		check(h.t, cmd.Start())
		await()
		_, err = io.WriteString(in, "now\n")
		check(h.t, err)
	} else {
		check(h.t, cmd.Start())
	}
	if err := cmd.Wait(); err != nil {
		h.t.Fatalf("%v: %s", err, &stderr)
	}
	return said{out.String(), stderr.String(), 0}
}

// TestWindowsCtrlCIsTheCommandsOwnBusiness has a Python that catches it, and goes on to its own end.
func TestWindowsCtrlCIsTheCommandsOwnBusiness(t *testing.T) {
	h, _ := warmHouse(t, "1")
	python, err := exec.LookPath(`python.exe`)
	check(t, err)
	s := h.interrupted(nil, "run", "--", python, "-c", `import sys, time
print("ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("caught")
    sys.exit(7)`)
	if code, rest, _ := strings.Cut(s.out, " "); code != "7" || strings.TrimSpace(rest) != "caught" {
		t.Errorf("%+v", s)
	}
	// one that does not catch it ends by it, and so does runt
	s = h.interrupted(nil, "run", "--", python, "-c", "import time; print('ready'); time.sleep(60)")
	if code, _, _ := strings.Cut(s.out, " "); code != "3221225786" || !strings.Contains(s.err, "KeyboardInterrupt") {
		t.Errorf("%+v", s) // the code is STATUS_CONTROL_C_EXIT
	}
	h.eventually(10*time.Second, "the environments are given back", func() bool { return h.pool("uv").Leased == 0 })
}

func TestWindowsCtrlCEndsWhoWaits(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn()
	h.configure(quickly + "1\n")
	h.gate()
	h.start()
	s := h.interrupted(func() {
		h.eventually(time.Minute, "runt waits in line", func() bool { return h.pool("uv").Waiting == 1 })
	}, "run", "--", "python", "-c", "")
	if code, _, _ := strings.Cut(s.out, " "); code != "130" || !strings.Contains(s.err, "interrupted") {
		t.Errorf("%+v", s)
	}
	h.eventually(10*time.Second, "nobody waits", func() bool { return h.pool("uv").Waiting == 0 })
	h.openGate()
	h.filled("uv", time.Minute)
}
