//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
	"runtimed/pool/standby"
	"runtimed/rpc"
)

// kernelPython is a Python with ipykernel, made once and kept.
var kernelPython = sync.OnceValues(func() (string, error) {
	bin, err := realUV()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "runtimed-tests", "kernel-7.1.0")
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(filepath.Join(dir, "whole")); err == nil {
		return python, nil
	}
	uv := filepath.Join(bin, "uv")
	for _, argv := range [][]string{
		{uv, "venv", "--quiet", "--clear", dir},
		{uv, "pip", "install", "--quiet", "--python", python, "ipykernel==7.1.0"},
		{"touch", filepath.Join(dir, "whole")},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	return python, nil
})

// stood is a standby kernel without a daemon.
type stood struct {
	t       *testing.T
	process *standby.Process
	dir     string // of its own
	socket  string
	vars    []string
	events  chan standby.Event
}

// modules are what a pool may want imported ahead.
var modules = map[string]string{
	"fine":     "",
	"breaks":   "1 / 0",
	"prints":   "print('hello', flush=True); import sys; sys.stdout.write('and more')",
	"threads":  "import threading, time; threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
	"asks":     "import IPython; IPython.get_ipython().events.register('post_execute', print)",
	"looks":    "try:\n    get_ipython().user_ns\nexcept (AttributeError, NameError):\n    pass",
	"changes":  "get_ipython().ast_node_interactivity = 'all'",
	"indexes":  "try:\n    get_ipython().config['IPKernelApp']\nexcept Exception:\n    pass",
	"keeps":    "from IPython import get_ipython as kept",
	"kinds":    "in_kernel = hasattr(get_ipython(), 'kernel') and 'IPKernelApp' in get_ipython().config",
	"ends":     "import os; os._exit(3)",
	"exits":    "raise SystemExit('not here')",
	"sets":     "import os; os.environ['SET_BY_MODULE'] = '1'; os.environ.setdefault('DEFAULT_OF_MODULE', '2')",
	"reads":    "import os; os.environ.get('READ_BY_MODULE')",
	"copies":   "import os; dict(os.environ); os.environ.copy()",
	"inner":    "import shadowed",
	"shadowed": "answer = 1",
}

// stand starts one, with variables beside the usual ones, and has it import modules.
func stand(t *testing.T, vars []string, preload ...string) *stood {
	t.Helper()
	python, err := kernelPython()
	check(t, err)
	dir, err := os.MkdirTemp("", "so") // a socket's path must be short
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &stood{t: t, dir: dir, socket: filepath.Join(dir, "k01234567"), events: make(chan standby.Event, 10)}
	for _, sub := range []string{"home", "cwd", "modules"} {
		check(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	for name, text := range modules {
		check(t, os.WriteFile(filepath.Join(dir, "modules", name+".py"), []byte(text+"\n"), 0o600))
	}
	s.vars = append([]string{"HOME=" + filepath.Join(dir, "home"), "PATH=/usr/bin:/bin",
		"PYTHONPATH=" + filepath.Join(dir, "modules"), "IPYTHONDIR=" + filepath.Join(dir, "ipython")}, vars...)
	p, _, output, err := standby.Start(context.Background(), standby.Command{Python: python, Env: dir, Dir: dir,
		Vars: s.vars, Args: standby.CheckArgs(true, nil)})
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	s.process = p
	t.Cleanup(p.End)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	check(t, err)
	l.SetUnlinkOnClose(false)
	check(t, p.Stay(l, s.socket, preload, func(e standby.Event) { s.events <- e }))
	return s
}

// told is the next thing that it tells.
func (s *stood) told() standby.Event {
	s.t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(time.Minute):
		s.t.Fatal("it tells nothing")
		panic("not reached")
	}
}

// ready waits until it is.
func (s *stood) ready() *stood {
	s.t.Helper()
	if e := s.told(); !e.Ready {
		s.t.Fatalf("it tells %+v", e)
	}
	return s
}

func (s *stood) dial() *net.UnixConn {
	s.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.socket, Net: "unix"})
	check(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// order is the right one, for a kernel that writes what code makes of its variable said, and goes on.
func (s *stood) order(code string) rpc.Order {
	s.t.Helper()
	file := filepath.Join(s.dir, "kernel.json")
	check(s.t, os.WriteFile(file, fmt.Appendf(nil, `{"transport":"ipc","ip":%q,"shell_port":1,"iopub_port":2,
"stdin_port":3,"control_port":4,"hb_port":5,"key":"x","signature_scheme":"hmac-sha256"}`,
		filepath.Join(s.dir, "z")), 0o600))
	code = fmt.Sprintf("import json, os, sys\n%[1]s\nopen('%[2]s/part', 'w').write(json.dumps(said))\n"+
		"os.rename('%[2]s/part', '%[2]s/said')\n", code, s.dir)
	check(s.t, os.WriteFile(filepath.Join(s.dir, "code.py"), []byte(code), 0o600))
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	check(s.t, err)
	o := rpc.Order{Order: rpc.OrderVersion, CWD: rpc.Bytes(filepath.Join(s.dir, "cwd")), Umask: 0o22,
		Nice: 20 - nice, Ignored: []int{}, Listen: []string{}, Argv: []rpc.Bytes{"-f", rpc.Bytes(file),
			rpc.Bytes("--IPKernelApp.exec_files=" + filepath.Join(s.dir, "code.py"))}}
	for _, v := range s.vars {
		o.Environ = append(o.Environ, rpc.Bytes(v))
	}
	return o
}

// send sends a line with the three streams.
func (s *stood) send(c *net.UnixConn, line []byte, descriptors ...int) {
	s.t.Helper()
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	n, _, err := c.WriteMsgUnix(line, rights, nil)
	if err == nil && n < len(line) {
		_, err = c.Write(line[n:])
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		s.t.Error(err)
	}
}

func streams(t *testing.T) []int {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	check(t, err)
	t.Cleanup(func() { _ = null.Close() })
	return []int{int(null.Fd()), int(null.Fd()), int(null.Fd())}
}

// becomes orders a kernel and returns its connection and what it answers.
func (s *stood) becomes(o rpc.Order) (*bufio.Reader, *net.UnixConn, rpc.Receipt) {
	s.t.Helper()
	line, err := o.Line()
	check(s.t, err)
	c := s.dial()
	s.send(c, line, streams(s.t)...)
	lines := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := lines.ReadBytes('\n')
	var r rpc.Receipt
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	return lines, c, r
}

// runs has it become a kernel that runs code, and reads what that said.
func (s *stood) runs(o rpc.Order, into any) (*bufio.Reader, *net.UnixConn) {
	s.t.Helper()
	lines, c, r := s.becomes(o)
	if r.Started != s.process.PID() {
		s.t.Fatalf("the answer is %+v", r)
	}
	var data []byte
	testkit.Soon(s.t, "it runs its code", func() (there bool) {
		var err error
		data, err = os.ReadFile(filepath.Join(s.dir, "said"))
		return err == nil
	})
	check(s.t, json.Unmarshal(data, into))
	return lines, c
}

func TestWhatIsNotAnOrderCostsAStandbyNothing(t *testing.T) {
	t.Parallel()
	s := stand(t, nil).ready()
	o := s.order("said = os.getpid()")
	right, err := o.Line()
	check(t, err)
	with := func(name string, value any) []byte {
		var m map[string]any
		check(t, json.Unmarshal(right, &m))
		if m[name] = value; value == nil {
			delete(m, name)
		}
		line, err := json.Marshal(m)
		check(t, err)
		return append(line, '\n')
	}
	for what, c := range map[string]struct {
		line        []byte
		descriptors []int
	}{
		"bytes":                   {[]byte("\xff\x00\x80\n"), nil},
		"a request":               {[]byte("GET / HTTP/1.1\r\n\r\n"), nil},
		"a list":                  {[]byte("[1]\n"), nil},
		"deep":                    {append(bytes.Repeat([]byte("["), 100_000), '\n'), nil},
		"another version":         {with("order", 2), streams(t)},
		"no version":              {with("order", nil), streams(t)},
		"no descriptors":          {right, nil},
		"two descriptors":         {right, streams(t)[:2]},
		"a listener that is none": {right, append(streams(t), 1)},
		"more than fit":           {right, slices.Repeat(streams(t), 20)},
		"no cwd":                  {with("cwd", nil), streams(t)},
		"a number for a cwd":      {with("cwd", 7), streams(t)},
		"no argv":                 {with("argv", nil), streams(t)},
		"numbers in argv":         {with("argv", []any{1}), streams(t)},
		"no variables":            {with("environ", nil), streams(t)},
		"variables that are none": {with("environ", []any{1, nil}), streams(t)},
		"a text for a umask":      {with("umask", "x"), streams(t)},
		"limits that are none":    {with("limits", map[string]any{"nofile": "many"}), streams(t)},
		"a list for limits":       {with("limits", []any{1}), streams(t)},
		"no listening":            {with("listening", nil), streams(t)},
		"a listener too few":      {with("listening", []any{"tcp://127.0.0.1:1"}), streams(t)},
		"ignored texts":           {with("ignored", []any{"x"}), streams(t)},
		"a release that is none":  {with("release", 7), streams(t)},
		"nine megabytes":          {append(bytes.Repeat([]byte("x"), 9<<20), '\n'), nil},
	} {
		c := c
		conn := s.dial()
		s.send(conn, c.line, c.descriptors...)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := conn.Read(make([]byte, 100)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it answers with %d bytes, %v", what, n, err)
		}
		select {
		case e := <-s.events:
			t.Fatalf("%s: it tells %+v", what, e)
		default:
		}
	}
	half := s.dial()
	s.send(half, right[:len(right)/2], streams(t)...)
	for range 100 {
		s.dial()
	}
	var pid int
	s.runs(o, &pid)
	if pid != s.process.PID() {
		t.Errorf("the kernel is %d", pid)
	}
	if _, err := os.Lstat(s.socket); !os.IsNotExist(err) {
		t.Errorf("its socket is still there: %v", err)
	}
}

func TestAnOrderTakesBytesThatAreNoTextAndMuchOfThem(t *testing.T) {
	t.Parallel()
	s := stand(t, nil).ready()
	o := s.order("said = sorted([n, v] for n, v in os.environ.items() if n.startswith('T_'))\n" +
		"said = [said, os.getcwd(), sys.orig_argv[-1]]")
	all := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		all = append(all, byte(b))
	}
	odd := filepath.Join(s.dir, "c\xffw\xe2\x80")
	check(t, os.Mkdir(odd, 0o700))
	big := strings.Repeat("<\u2028&\U0001f600>", 300_000)
	o.CWD, o.Argv = rpc.Bytes(odd), append(o.Argv, "--a=\xfe\"\\\t")
	o.Environ = append(o.Environ, rpc.Bytes("T_ALL="+string(all)), rpc.Bytes("T_BIG="+big), "T_ALL=second", "T_EMPTY=")
	var said []json.RawMessage
	s.runs(o, &said)
	// what Python makes of the same bytes
	want, err := exec.Command("python3", "-c", `import json, os, sys
print(json.dumps([[["T_ALL", os.fsdecode(bytes(range(1, 256)))], ["T_BIG", "<\u2028&\U0001f600>" * 300000],
    ["T_EMPTY", ""]], os.fsdecode(sys.argv[1]), "--a=\udcfe\"\\\t"]))`, odd).Output()
	check(t, err)
	var wanted []json.RawMessage
	check(t, json.Unmarshal(want, &wanted))
	for i := range wanted {
		if !bytes.Equal(bytes.ReplaceAll(said[i], []byte(" "), nil), bytes.ReplaceAll(wanted[i], []byte(" "), nil)) {
			t.Errorf("it has %.300s, and not %.300s", said[i], wanted[i])
		}
	}
}

func TestModulesThatAreImportedAheadChangeNothingElse(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		preload []string
		vars    []string // of the caller alone
		files   []string // where the kernel starts
		faults  string
		refused string
	}{
		"a module":             {preload: []string{"fine"}},
		"another variable":     {preload: []string{"fine"}, vars: []string{"OTHER=1", "EDITOR=vi"}},
		"one that copies them": {preload: []string{"copies"}, vars: []string{"OTHER=1"}},
		"a variable that it read": {preload: []string{"reads"}, vars: []string{"READ_BY_MODULE=1"},
			refused: "READ_BY_MODULE"},
		"one that is not there": {preload: []string{"json", "nosuchmodule", "sys"},
			faults: "[nosuchmodule cannot be imported: ModuleNotFoundError: No module named 'nosuchmodule']"},
		"one that breaks": {preload: []string{"breaks", "fine"},
			faults: "[breaks cannot be imported: ZeroDivisionError: division by zero]"},
		"one that exits": {preload: []string{"exits", "fine"},
			faults: "[exits cannot be imported: SystemExit: not here]"},
		"one that prints":      {preload: []string{"prints"}},
		"one with a thread":    {preload: []string{"threads"}},
		"one that sets":        {preload: []string{"sets"}},
		"those for kernels":    {preload: []string{"keeps", "kinds"}},
		"a file of its name":   {preload: []string{"fine"}, files: []string{"fine.py"}, refused: "fine.py"},
		"a folder of its name": {preload: []string{"fine"}, files: []string{"fine/__init__.py"}, refused: "fine"},
		"one that it imports":  {preload: []string{"inner"}, files: []string{"shadowed.py"}, refused: "shadowed.py"},
		"another file":         {preload: []string{"inner"}, files: []string{"other.py", "json.txt"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := stand(t, nil, c.preload...)
			if e := s.told(); !e.Ready || fmt.Sprint(e.Faults) != cmp.Or(c.faults, "[]") {
				t.Fatalf("it tells %+v", e)
			}
			code := "import " + strings.Join(slices.DeleteFunc(slices.Clone(c.preload), func(name string) bool {
				return strings.Contains(c.faults, name+" cannot")
			}), ", ") + "\nsaid = {n: v for n, v in os.environ.items() if 'MODULE' in n}\n" +
				"if get_ipython() is None or 'keeps' in globals() and keeps.kept() is not get_ipython():\n" +
				"    said = 'none'\n" +
				"if 'kinds' in globals() and not kinds.in_kernel: said = 'another kind'"
			o := s.order(code)
			for _, v := range c.vars {
				o.Environ = append(o.Environ, rpc.Bytes(v))
			}
			for _, name := range c.files {
				path := filepath.Join(string(o.CWD), name)
				check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)))
			}
			if c.refused != "" {
				if _, _, r := s.becomes(o); !strings.Contains(r.Refused, c.refused) {
					t.Errorf("it answers %+v", r)
				}
				return
			}
			var got map[string]string
			s.runs(o, &got)
			want := map[string]string{}
			if slices.Contains(c.preload, "sets") {
				want = map[string]string{"SET_BY_MODULE": "1", "DEFAULT_OF_MODULE": "2"}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("it has %v, and not %v", got, want)
			}
		})
	}
}

func TestAModuleThatEndsTheProcessOrAsksForTheKernelIsNamed(t *testing.T) {
	t.Parallel()
	s := stand(t, nil, "fine", "ends")
	if e := s.told(); !e.Ended {
		t.Errorf("it tells %+v", e)
	}
	for _, name := range []string{"asks", "looks", "changes", "indexes"} {
		s = stand(t, nil, "fine", name)
		e := s.told()
		if !e.Ended || !strings.HasPrefix(fmt.Sprint(e.Faults), "["+name+" uses on import the kernel") {
			t.Errorf("it tells %+v", e)
		}
	}
}

func TestAStandbyRefusesWhoIsPartOfABatchJobWhateverItsProgramAsks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"SLURM_JOB_ID", "COBALT_JOBID"} {
		s := stand(t, nil)
		if e := s.told(); !e.Ready {
			t.Fatalf("it tells %+v", e)
		}
		o := s.order("said = 1")
		o.Environ = append(o.Environ, rpc.Bytes(name+"=7"))
		if _, _, r := s.becomes(o); !strings.Contains(r.Refused, "part of a batch job ("+name+")") {
			t.Errorf("it answers %+v", r)
		}
	}
}
