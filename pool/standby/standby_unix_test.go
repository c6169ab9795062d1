//go:build unix

package standby

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
)

// asPython has this test binary stand in for a Python, which then does what the variable says.
const asPython = "RUNT_STANDBY_TEST"

func TestMain(m *testing.M) {
	if what := os.Getenv(asPython); what != "" {
		python(what)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// python speaks as standby.py does. An order is a line that says how it becomes a kernel.
func python(what string) {
	lifeline := os.NewFile(4, "lifeline")
	nc, err := net.FileConn(lifeline)
	if err != nil {
		panic(err)
	}
	_ = lifeline.Close()
	conn := nc.(*net.UnixConn)
	switch what {
	case "fails":
		fmt.Fprintln(os.Stderr, "ImportError: no kernel")
		os.Exit(7)
	case "hangs":
		time.Sleep(time.Hour)
	case "babbles":
		fmt.Fprintln(conn, "hello")
		time.Sleep(time.Hour)
	case "ends":
		return
	case "starts":
		_ = exec.Command("sleep", "600").Start()
	}
	fmt.Fprintf(conn, `{"version":"3.13.1","site_packages":%q,"sentinels":["a"]}`+"\n", strings.Join(os.Args[1:], " "))
	part, space := make([]byte, 1<<16), make([]byte, 64)
	n, oobn, _, _, err := conn.ReadMsgUnix(part, space)
	if err != nil || n == 0 {
		return
	}
	var task struct {
		Path    string
		Preload []string
	}
	messages, _ := unix.ParseSocketControlMessage(space[:oobn])
	got, _ := unix.ParseUnixRights(&messages[0])
	if err := json.Unmarshal(part[:n], &task); err != nil {
		panic(err)
	}
	l, err := net.FileListener(os.NewFile(uintptr(got[0]), "listener"))
	if err != nil {
		panic(err)
	}
	var kernel atomic.Bool
	go func() {
		if n, _ := conn.Read(part); n == 0 && !kernel.Load() {
			os.Exit(0) // as an unused standby
		}
	}()
	fmt.Fprintf(conn, `{"ready":true,"faults":[%q]}`+"\n", strings.Join(task.Preload, " "))
	caller, err := l.Accept()
	if err != nil {
		panic(err)
	}
	line, _ := bufio.NewReader(caller).ReadString('\n')
	if line == "refuse\n" {
		fmt.Fprintln(conn, `{"refused":"no","wanted":{"A":"1","B":null}}`)
		return
	}
	kernel.Store(true)
	file, _ := caller.(*net.UnixConn).File()
	_, _, err = conn.WriteMsgUnix([]byte(`{"adopted":true}`+"\n"), unix.UnixRights(int(file.Fd())), nil)
	if err != nil {
		panic(err)
	}
	_ = conn.CloseWrite()
	var code int
	if _, err := fmt.Sscanf(line, "exit %d", &code); err == nil {
		os.Exit(code)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func start(ctx context.Context, t *testing.T, what string) (*Process, Says, string, error) {
	t.Helper()
	program, err := os.Executable()
	testkit.Check(t, err)
	return Start(ctx, Command{Python: program, Env: "/env", Dir: t.TempDir(), Args: CheckArgs(true, nil),
		Vars: []string{asPython + "=" + what, "PATH=/usr/bin:/bin", "LC_CTYPE=C"}})
}

// stays starts one that is asked to stay.
func stays(t *testing.T) (p *Process, path string, events chan Event) {
	t.Helper()
	p, says, output, err := start(context.Background(), t, "stays")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	t.Cleanup(p.kill)
	if want := " stay LC_CTYPE again"; says.Version != "3.13.1" || !strings.HasSuffix(says.SitePackages, want) {
		t.Errorf("it says %+v", says)
	}
	dir, err := os.MkdirTemp("", "sb") // a socket's path must be short
	testkit.Check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path, events = filepath.Join(dir, "k"), make(chan Event, 10)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	testkit.Check(t, err)
	l.SetUnlinkOnClose(false)
	testkit.Check(t, p.Stay(l, path, []string{"numpy", "pandas"}, func(e Event) { events <- e }))
	if e := <-events; !e.Ready || !slices.Equal(e.Faults, []string{"numpy pandas"}) {
		t.Errorf("it tells %+v", e)
	}
	return p, path, events
}

func order(t *testing.T, path, line string) *bufio.Reader {
	t.Helper()
	c, err := net.Dial("unix", path)
	testkit.Check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintln(c, line)
	testkit.Check(t, err)
	return bufio.NewReader(c)
}

func TestACheckThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	for what, says := range map[string]string{"fails": "exit status 7", "babbles": "invalid character",
		"ends": "its answer cannot be read: EOF"} {
		p, _, output, err := start(context.Background(), t, what)
		if p != nil || err == nil || what != "babbles" && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v", what, p, err)
		}
		if what == "fails" && !strings.Contains(output, "ImportError: no kernel") {
			t.Errorf("its output is %q", output)
		}
	}
	nowhere := Command{Python: filepath.Join(t.TempDir(), "python"), Dir: t.TempDir()}
	if _, _, _, err := Start(context.Background(), nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a Python: %v", err)
	}
}

func TestACheckThatIsCanceledEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if p, _, _, err := start(ctx, t, "hangs"); p != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestAProcessThatEndsTakesAlongWhatItStarted(t *testing.T) {
	p, _, output, err := start(context.Background(), t, "starts")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	p.End()
	<-p.ended
	testkit.Soon(t, "its group is gone", func() bool { return errors.Is(syscall.Kill(-p.PID(), 0), syscall.ESRCH) })
	p.End()
}

func TestAnUnusedStandbyEndsWhenItIsAsked(t *testing.T) {
	p, path, events := stays(t)
	p.End()
	if e := <-events; !e.Ended || !slices.Equal(e.Faults, []string{"numpy pandas"}) {
		t.Errorf("it tells %+v", e)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("its socket: %v", err)
	}
}

func TestACallerThatIsRefusedIsToldOf(t *testing.T) {
	_, path, events := stays(t)
	order(t, path, "refuse")
	e := <-events
	if e.Refused != "no" || len(e.Wanted) != 2 || *e.Wanted["A"] != "1" || e.Wanted["B"] != nil {
		t.Errorf("it tells %+v", e)
	}
	if e := <-events; !e.Ended {
		t.Errorf("it tells %+v", e)
	}
}

func TestACallerIsToldHowItsKernelEnded(t *testing.T) {
	for line, want := range map[string]string{"exit 3": `{"exit":3}`, "exit 0": `{"exit":0}`, "die": `{"signal":9}`} {
		_, path, events := stays(t)
		answer := order(t, path, line)
		if e := <-events; !e.Adopted {
			t.Errorf("%s: it tells %+v", line, e)
		}
		if said, err := answer.ReadString('\n'); said != want+"\n" {
			t.Errorf("%s: the caller hears %q, %v", line, said, err)
		}
		if e := <-events; !e.Ended {
			t.Errorf("%s: it tells %+v", line, e)
		}
	}
}
