//go:build unix

package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// mac is a macOS with these processes, which answers as sys/sysctl.h and xnu's kern_sysctl.c have it.
type mac map[int]macProcess

type macProcess struct {
	kinfo
	session int
	args    []byte
	others  bool // of another user
}

func (m mac) macOS() macOS {
	return macOS{
		info: func(pid int) (kinfo, error) {
			if p, ok := m[pid]; ok {
				return p.kinfo, nil
			}
			return kinfo{}, syscall.EIO
		},
		session: func(pid int) (int, error) {
			if p, ok := m[pid]; ok {
				return p.session, nil
			}
			return -1, syscall.ESRCH
		},
		args: func(pid int) ([]byte, error) {
			if p, ok := m[pid]; ok && !p.others && p.state != zombie {
				return p.args, nil
			}
			return nil, syscall.EINVAL
		},
		all: func() ([]int, error) { return slices.Collect(maps.Keys(m)), nil },
	}
}

const macEnvs = "/Users/ada/.cache/runt/envs"

// shell is a process of user 501 on a terminal.
func shell(pid int, args []byte) macProcess {
	return macProcess{kinfo{pid: pid, parent: 400, group: pid, seconds: 1_790_000_000, micros: 7, state: 2,
		terminal: 0x10000002, user: 501}, 400, args, false}
}

// procArgs2 is what kern.procargs2 gives for a process. The path is followed by at least one zero byte, and the first
// argument begins at a multiple of eight.
func procArgs2(argc int32, exe string, args, environ []string) []byte {
	data := binary.NativeEndian.AppendUint32(nil, uint32(argc))
	data = append(data, exe+"\x00"...)
	for len(data)%8 != 4 {
		data = append(data, 0)
	}
	for _, s := range slices.Concat(args, environ) {
		data = append(data, s+"\x00"...)
	}
	return append(data, "\x00ptr_munge=\x00main_stack=\x00executable_file=0x1a\x00\x00\x00"...) // what dyld is told
}

func TestOnMacOSAProcessIsKnownByItsStart(t *testing.T) {
	m := mac{500: shell(500, nil)}
	p, err := m.macOS().stat(500)
	want := stat{Process: Process{500, 1_790_000_000_000_007}, parent: 400, group: 500, session: 400, terminal: 400}
	if err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
	if uid, ok := m.macOS().user(500); uid != 501 || !ok {
		t.Errorf("user %d, %v", uid, ok)
	}
	quiet := shell(500, nil)
	quiet.terminal = -1
	m[500] = quiet
	if p, err := m.macOS().stat(500); err != nil || p.terminal != 0 || p.session != 400 {
		t.Errorf("without a terminal: %+v, %v", p, err)
	}
	kernel := macProcess{kinfo: kinfo{pid: 0, terminal: -1, state: 2}}
	m[0] = kernel
	if p, err := m.macOS().stat(0); err != nil || !p.kernel {
		t.Errorf("the kernel: %+v, %v", p, err)
	}
}

func TestOnMacOSAZombieHasEnded(t *testing.T) {
	dead := shell(500, nil)
	dead.state = 5
	if _, err := (mac{500: dead}).macOS().stat(500); !errors.Is(err, errEnded) {
		t.Error(err)
	}
}

func TestOnMacOSAnAnswerForNobodyIsNoProcess(t *testing.T) {
	m := mac{501: shell(502, nil)} // another's
	for _, pid := range []int{500, 501} {
		if _, err := m.macOS().stat(pid); !errors.Is(err, fs.ErrNotExist) {
			t.Error(pid, err)
		}
		if _, ok := m.macOS().user(pid); ok {
			t.Errorf("%d has a user", pid)
		}
	}
	denied := macOS{info: func(int) (kinfo, error) { return kinfo{}, syscall.EPERM }}
	if _, err := denied.stat(500); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Error("what cannot be looked at counts as gone:", err)
	}
}

func TestOnMacOSAListWithoutThisProcessIsNone(t *testing.T) {
	for name, list := range map[string][]int{"nothing": nil, "others": {0, 1, 500}} {
		m := macOS{all: func() ([]int, error) { return list, nil }}
		if err := m.procs(func(int) { t.Error("it was taken for a list") }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m := mac{1: {}, os.Getpid(): {}}
	var seen []int
	err := m.macOS().procs(func(pid int) { seen = append(seen, pid) })
	if slices.Sort(seen); err != nil || !slices.Equal(seen, []int{1, os.Getpid()}) {
		t.Error(seen, err)
	}
}

func TestOnMacOSArgumentsAndVariablesAreToldApart(t *testing.T) {
	const mark = "RUNT_BUILD_OF=/envs/uv-1"
	whole := procArgs2(2, "/usr/bin/uv", []string{"uv", "venv"}, []string{mark, "HOME=/Users/ada"})
	for _, c := range []struct {
		name               string
		data               []byte
		exe, args, environ string // environ is how it begins
		whole              bool
	}{
		{"an ordinary process", whole, "/usr/bin/uv", "uv\x00venv\x00", mark + "\x00HOME=", true},
		{"a path that ends at the boundary", procArgs2(1, "/bin/12", []string{"sh"}, []string{"A=1"}),
			"/bin/12", "sh\x00", "A=1\x00", true},
		{"arguments that are empty", procArgs2(3, "/bin/sh", []string{"sh", "", ""}, []string{"A=1"}),
			"/bin/sh", "sh\x00\x00\x00", "A=1\x00", true},
		{"no arguments", procArgs2(0, "/bin/sh", nil, []string{"A=1"}), "/bin/sh", "", "A=1\x00", true},
		{"a variable's text as an argument", procArgs2(2, "/usr/bin/grep", []string{"grep", mark}, []string{"A=1"}),
			"/usr/bin/grep", "grep\x00" + mark + "\x00", "A=1\x00", true},
		{"no variables, as for a program of the system", whole[:4+16+8], "/usr/bin/uv", "uv\x00venv\x00", "", true},
		{"cut off in an argument", whole[:4+16+6], "/usr/bin/uv", "uv\x00ven", "", false},
		{"cut off in the path", whole[:4+5], "/usr/", "", "", false},
		{"more arguments than there are", procArgs2(1<<30, "/bin/sh", []string{"sh"}, nil), "/bin/sh",
			string(procArgs2(0, "/bin/sh", []string{"sh"}, nil)[4+8:]), "", false},
		{"a negative number of them", procArgs2(-1, "", nil, nil)[:4], "", "", "", false},
		{"no zero byte", []byte("\x01\x00\x00\x00/bin/sh"), "/bin/sh", "", "", false},
		{"zero bytes alone", make([]byte, 64), "", "", "", true},
		{"half a number", whole[:3], "", "", "", false},
		{"nothing", nil, "", "", "", false},
	} {
		a := readArgs(c.data)
		if string(a.exe) != c.exe || string(a.args) != c.args || !strings.HasPrefix(string(a.environ), c.environ) ||
			a.whole != c.whole || c.environ == "" && strings.Contains(string(a.environ), "=/") {
			t.Errorf("%s: %q, %q, %q, %v", c.name, a.exe, a.args, a.environ, a.whole)
		}
	}
}

func TestOnMacOSAnAnswerCutOffAnywhereHoldsNothingThatWasNotThere(t *testing.T) {
	whole := procArgs2(2, "/usr/bin/uv", []string{"uv", "venv"}, []string{"A=1"})
	arguments := bytes.Index(whole, []byte("A=1"))
	for end := range whole {
		for argc := range byte(5) {
			data := slices.Clone(whole[:end])
			if end > 3 {
				copy(data, binary.NativeEndian.AppendUint32(nil, uint32(argc)))
			}
			a := readArgs(data)
			if !bytes.HasSuffix(data, slices.Concat(a.args, a.environ)) || !bytes.Contains(data, a.exe) {
				t.Errorf("%d bytes, %d arguments: %+v", end, argc, a)
			}
			if argc == 2 && a.whole != (end >= arguments) || !a.whole && len(a.environ) > 0 {
				t.Errorf("%d bytes, %d arguments: whole is %v", end, argc, a.whole)
			}
		}
	}
}

func TestOnMacOSAnEnvironmentIsUsedByExecutableArgumentOrVariable(t *testing.T) {
	held := map[string]Owner{"uv-held": {PID: 300, StartTime: 1, Group: 500, Namespace: Namespace()}}
	const activated = macEnvs + "/uv-1"
	others := shell(500, nil)
	others.others = true
	dead := others
	dead.state = zombie
	far := others
	far.group = 499
	for _, c := range []struct {
		name string
		p    macProcess
		want []string
	}{
		{"its executable is in it", shell(500, procArgs2(1, activated+"/bin/python", []string{"python"}, nil)),
			[]string{"uv-1"}},
		{"an argument is in it", shell(500, procArgs2(2, "/bin/sh", []string{"sh", activated + "/bin/pip"}, nil)),
			[]string{"uv-1"}},
		{"an argument is it", shell(500, procArgs2(2, "/bin/ls", []string{"ls", activated}, nil)), nil},
		{"it is activated", shell(500, procArgs2(1, "/bin/zsh", nil, []string{"-zsh", "VIRTUAL_ENV=" + activated})),
			[]string{"uv-1"}},
		{"its folder was the shell's", shell(500, procArgs2(1, "./py", []string{"./py"}, []string{"PWD=" + activated})),
			[]string{"uv-1"}},
		{"it uses none", shell(500, procArgs2(1, "/bin/zsh", []string{"-zsh"}, []string{"HOME=/Users/ada"})), nil},
		{"another user's that the owner may have started", others, []string{"uv-held"}},
		{"another user's that it did not", far, nil},
		{"another user's that has ended", dead, nil},
		{"its arguments are not all there", shell(500, procArgs2(9, "/bin/zsh", []string{"-zsh"}, nil)),
			[]string{"uv-held"}},
	} {
		m := mac{500: c.p}.macOS()
		found := search{macEnvs, held}.uses(stat{Process: Process{500, 2}, parent: 1 << 30, group: c.p.group},
			m.traces(500))
		if !slices.Equal(found, c.want) {
			t.Errorf("%s: %v, want %v", c.name, found, c.want)
		}
	}
	if gone := (mac{}).macOS().traces(500); gone.closed {
		t.Error("a process that has ended meanwhile is closed")
	}
}

func TestOnMacOSABuildsMarkIsReadFromItsVariables(t *testing.T) {
	args, environ := []string{"sh", "RUNT_BUILD_OF=/no"}, []string{"RUNT_BUILD_OF=/yes"}
	m := mac{500: shell(500, procArgs2(2, "/bin/sh", args, environ))}
	if got := m.macOS().environ(500); !strings.HasPrefix(string(got), "RUNT_BUILD_OF=/yes\x00") {
		t.Errorf("%q", got)
	}
	if got := m.macOS().environ(501); got != nil {
		t.Errorf("of no process: %q", got)
	}
}
