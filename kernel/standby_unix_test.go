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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"runtimed/internal/daemon"
	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// inChild names what this test binary does in place of the tests.
const inChild = "RUNT_KERNEL_TEST"

func TestMain(m *testing.M) {
	if what := os.Getenv(inChild); what != "" {
		child(strings.Fields(what))
	}
	for fd := 3; fd < 256; fd++ { // what whoever runs the tests has left open
		unix.CloseOnExec(fd)
	}
	os.Exit(m.Run())
}

func child(words []string) {
	switch words[0] {
	case "end":
		var end rpc.KernelEnd
		if n, err := strconv.Atoi(words[2]); err != nil {
			os.Exit(99)
		} else if words[1] == "exit" {
			end.Exit = &n
		} else {
			end.Signal = &n
		}
		lastSignal.Store(int32(syscall.SIGKILL))
		endAs(end)
	case "plain":
		fmt.Print(whyPlain(func(name string) string { return map[string]string{"RUNTIMED_STANDBY": words[1]}[name] }))
	case "limits":
		list, err := limits()
		for _, l := range list {
			if l.Name == "nofile" {
				fmt.Print(*l.Soft, " ", *l.Hard, " ", err)
			}
		}
	case "inherited":
		fmt.Print(inherited())
	case "ignored":
		fmt.Print(ignored())
	case "follow": // a kernel, after a SIGTERM that came before its receipt
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err = errors.Join(err, cmd.Start()); err != nil {
			panic(err)
		}
		go func() { _ = cmd.Wait() }()
		nc, err := net.FileConn(os.NewFile(uintptr(pair[0]), "caller"))
		if err != nil {
			panic(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		conn := nc.(*net.UnixConn)
		follow(&daemon.Control{Ctx: ctx, Env: func(string) string { return "" }}, conn, bufio.NewReader(conn),
			cmd.Process.Pid)
	case "become":
		_ = whyPlain(func(string) string { return "" })
		fmt.Print((&Kernel{File: "k.json"}).plain(rpc.AcquireResult{Env: rpc.Env{Python: words[1]}}, rpc.ReleaseAt{}))
	case "place":
		fmt.Print(umask(), niceness())
	}
	os.Exit(0)
}

// inA runs this test binary by a shell's script, which starts it as "$@".
func inA(t *testing.T, what, script string, extra ...*os.File) (string, *os.ProcessState) {
	t.Helper()
	program, err := os.Executable()
	testkit.Check(t, err)
	cmd := exec.Command("/bin/sh", "-c", script, "sh", program)
	cmd.Env = append(os.Environ(), inChild+"="+what)
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // without the terminal of whoever runs the tests
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState
}

func TestRuntEndsAsItsKernelHas(t *testing.T) {
	for _, code := range []int{0, 1, 3, 255} {
		if _, state := inA(t, "end exit "+strconv.Itoa(code), `exec "$@"`); state.ExitCode() != code {
			t.Errorf("a kernel exits with %d, and runt with %d, %s", code, state.ExitCode(), state)
		}
	}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP,
		syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGPIPE,
		syscall.SIGALRM, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGXCPU, syscall.SIGSYS} {
		out, state := inA(t, "end signal "+strconv.Itoa(int(s)), `ulimit -c 0; exec "$@" 2>&1`)
		if ws := state.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != s || out != "" {
			t.Errorf("a kernel dies of %s, and runt ends with %s, saying %.200s", s, state, out)
		}
	}
}

func TestASignalThatCameBeforeTheKernelEndsItAllTheSame(t *testing.T) {
	_, state := inA(t, "follow", `exec "$@"`)
	if ws := state.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("runt ends with %s", state)
	}
}

func TestAKernelThatAStandbyCannotBeIsAPlainOne(t *testing.T) {
	null, err := os.Open(os.DevNull)
	testkit.Check(t, err)
	defer null.Close()
	for what, c := range map[string]struct {
		value, script string
		extra         []*os.File
		says          string
	}{
		"nothing special":    {"1", `exec "$@"`, nil, ""},
		"closed streams":     {"1", `exec "$@" <&- 2>&-`, nil, ""},
		"RUNTIMED_STANDBY=0": {"0", `exec "$@"`, nil, "RUNTIMED_STANDBY is 0"},
		"a descriptor":       {"1", `exec "$@"`, []*os.File{null}, ""},
		"many": {"1", `exec "$@"`, slices.Repeat([]*os.File{null}, 65),
			"it was started with 65 descriptors"},
	} {
		if said, _ := inA(t, "plain "+c.value, c.script, c.extra...); said != c.says {
			t.Errorf("%s: %q", what, said)
		}
	}
}

func TestWhatRuntWasStartedWithIsForItsKernel(t *testing.T) {
	null, err := os.Open(os.DevNull)
	testkit.Check(t, err)
	defer null.Close()
	if said, _ := inA(t, "inherited", `exec 9</dev/null; exec "$@"`, null); said != "[3 9]" {
		t.Errorf("it has %s", said)
	}
}

func TestAPlainKernelHasNoChildren(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python")
	script := "#!/bin/sh\nread -r children 2>/dev/null </proc/$$/task/$$/children\necho \"became it $children\"\n"
	testkit.Check(t, os.WriteFile(python, []byte(script), 0o755))
	for range 20 {
		if said, _ := inA(t, "become "+python, `exec "$@"`); said != "became it \n" {
			t.Fatalf("it says %q", said)
		}
	}
}

func TestTheLimitOfOpenFilesIsTheOneThatRuntWasStartedWith(t *testing.T) {
	if said, _ := inA(t, "limits", `ulimit -Sn 123; ulimit -Hn 456; exec "$@"`); said != "123 456 <nil>" {
		t.Errorf("it is %s", said)
	}
}

func TestEveryLimitIsInTheOrder(t *testing.T) {
	list, err := limits()
	testkit.Check(t, err)
	names := map[string]bool{}
	for _, l := range list {
		names[l.Name] = true
		if l.Soft != nil && l.Hard != nil && *l.Soft > *l.Hard {
			t.Errorf("%s is %d of %d", l.Name, *l.Soft, *l.Hard)
		}
	}
	for _, name := range limitNames {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestRuntSeesWhereItIs(t *testing.T) {
	if said, _ := inA(t, "place", `umask 027; exec nice -n 3 "$@"`); !strings.HasPrefix(said, "23 ") {
		t.Errorf("umask and niceness are %s", said) // 0o27
	}
	want := strconv.Itoa(min(19, niceness()+3))
	if said, _ := inA(t, "place", `exec nice -n 3 "$@"`); !strings.HasSuffix(said, want) {
		t.Errorf("umask and niceness are %s", said)
	}
}

func TestIgnoredSignalsAreThoseOfTheProgramThatStartedRunt(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system does not tell")
	}
	said, _ := inA(t, "ignored", `trap '' QUIT USR1 HUP PIPE; "$@"; exit $?`)
	var want []int
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1} {
		want = append(want, int(s))
	}
	if said != fmt.Sprint(want) {
		t.Errorf("%s, and not %v", said, want)
	}
	if said, _ := inA(t, "ignored", `"$@"; exit $?`); said != "[]" {
		t.Errorf("%s, and not none", said)
	}
}

func TestAnOrderHasWhatRuntHas(t *testing.T) {
	t.Chdir(t.TempDir())
	k := Kernel{File: "/run/kernel \xff.json", Args: []string{"--x"}}
	release := rpc.ReleaseAt{Socket: "/s", Env: "uv-01234567"}
	o, err := k.order([]string{"A=\xff", "B="}, release)
	testkit.Check(t, err)
	cwd, err := os.Getwd()
	testkit.Check(t, err)
	if o.Order != rpc.OrderVersion || string(o.CWD) != cwd || *o.Release != release ||
		!slices.Equal(o.Argv, []rpc.Bytes{"-f", "/run/kernel \xff.json", "--x"}) ||
		!slices.Equal(o.Environ, []rpc.Bytes{"A=\xff", "B="}) || o.Independent || o.Listen == nil {
		t.Errorf("%+v", o)
	}
	testkit.Check(t, os.Remove(cwd))
	if _, err := k.order(nil, release); err == nil {
		t.Error("a folder that is gone is ordered")
	}
}

func TestTheKernelsSocketsListenBeforeThereIsAKernel(t *testing.T) {
	free := func() int {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		testkit.Check(t, err)
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	testkit.Check(t, err)
	defer taken.Close()
	for what, c := range map[string]struct {
		change func(m map[string]any)
		listen bool
	}{
		"as usual":         {func(map[string]any) {}, true},
		"no transport":     {func(m map[string]any) { delete(m, "transport") }, true},
		"all addresses":    {func(m map[string]any) { m["ip"] = "0.0.0.0" }, true},
		"a port of 0":      {func(m map[string]any) { m["iopub_port"] = 0 }, false},
		"a port twice":     {func(m map[string]any) { m["iopub_port"] = m["shell_port"] }, false},
		"a port in use":    {func(m map[string]any) { m["hb_port"] = taken.Addr().(*net.TCPAddr).Port }, false},
		"a port too high":  {func(m map[string]any) { m["hb_port"] = 70_000 }, false},
		"a name":           {func(m map[string]any) { m["ip"] = "localhost" }, false},
		"IPv6":             {func(m map[string]any) { m["ip"] = "::1" }, false},
		"every interface":  {func(m map[string]any) { m["ip"] = "*" }, false},
		"another's":        {func(m map[string]any) { m["ip"] = "192.0.2.1" }, false},
		"ipc":              {func(m map[string]any) { m["transport"], m["ip"] = "ipc", t.TempDir()+"/s" }, false},
		"an encrypted one": {func(m map[string]any) { m["curve_secretkey"] = "x" }, false},
	} {
		m := map[string]any{"transport": "tcp", "ip": "127.0.0.1", "key": "", "shell_port": free(),
			"iopub_port": free(), "stdin_port": free(), "control_port": free(), "hb_port": free()}
		c.change(m)
		data, err := json.Marshal(m)
		testkit.Check(t, err)
		k := Kernel{File: filepath.Join(t.TempDir(), "k.json")}
		testkit.Check(t, os.WriteFile(k.File, data, 0o600))
		k.listen()
		if n := len(k.listeners); n != 5 && n != 0 || c.listen != (n == 5) {
			t.Errorf("%s: %d sockets listen", what, n)
		}
		for i, name := range []string{"shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"} {
			if !c.listen {
				break
			}
			port := fmt.Sprint(m[name])
			if want := fmt.Sprintf("tcp://%s:%s", m["ip"], port); k.listeners[i].addr != want {
				t.Errorf("%s: %s, and not %s", what, k.listeners[i].addr, want)
			}
			conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
			testkit.Check(t, err)
			_ = conn.Close()
		}
		if k.closeListeners(); c.listen {
			if _, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%v", m["shell_port"])); err == nil {
				t.Errorf("%s: it still listens", what)
			}
		}
	}
}
