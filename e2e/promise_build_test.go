//go:build e2e && unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// at has fastUV run a script first when it is called for a step.
func at(step, script string) string {
	return "case \"$1 $2\" in " + step + ")\n" + script + "\n;; esac\n" + fastUV
}

const (
	stepVenv = "venv*"
	stepSync = "'pip sync'"
)

func TestABuildThatFailsSaysTheTrueReasonAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		cause  string
		says   string // in its message or its output
	}{
		"makes nothing and says it has": {at(stepVenv+"|"+stepSync, "exit 0"), builder.CauseVerifyFailed,
			"cannot import the kernel"},
		"makes pyvenv.cfg and says it has done": {at(stepVenv+"|"+stepSync, `for d; do :; done
[ "$1" = pip ] || { mkdir -p "$d"; echo >"$d/pyvenv.cfg"; }
exit 0`), builder.CauseVerifyFailed, "cannot import the kernel"},
		"leaves ipykernel out": {at(stepSync, `s=${4%/bin/python}/lib/python3.12/site-packages
mkdir -p "$s/zmq"; echo y >"$s/zmq/_zmq.so"; exit 0`), builder.CauseVerifyFailed, "ipykernel/__init__.py"},
		"breaks the compiled part of zmq": {strings.Replace(fastUV, "echo y >", ": >", 1),
			builder.CauseVerifyFailed, "zmq/_zmq.so has 0 bytes, 2 were installed"},
		"is killed": {at(stepSync, "kill -9 $$"), builder.CauseOther, "signal: killed"},
		"fails without a word": {at(stepSync, "exit 1"), builder.CauseOther,
			"exit status 1 and said nothing"},
		"fails with a flood": {
			at(stepSync, "yes 'a line of the flood' | head -c 10000000 >&2; echo at last >&2; exit 1"),
			builder.CauseOther, "at last",
		},
		"asks a question": {at(stepSync, "read answer || echo nobody answers >&2; exit 1"),
			builder.CauseOther, "nobody answers"},
		"never ends and ignores SIGTERM": {
			at(stepSync, "trap '' TERM; (trap '' TERM; sleep 88.125) & while :; do sleep 88.125; done"),
			builder.CauseTimeout, "after 3s",
		},
		"hangs, its child in another session": {at(stepSync,
			"setsid sh -c \"trap '' TERM; sleep 88.125\" & sleep 88.125"), builder.CauseTimeout, "after 3s"},
		"fails, and leaves a child elsewhere": {
			at(stepSync, "setsid sh -c \"trap '' TERM; sleep 88.125\" >/dev/null 2>&1 & exit 1"),
			builder.CauseOther, "exit status 1",
		},
		"finds no network": {at(stepSync, "echo 'error: Failed to fetch: `https://index.invalid/simple/`' >&2; exit 2"),
			builder.CauseNetwork, "cannot be reached"},
		"finds the disk full": {at(stepVenv,
			"echo 'No space left on device (os error 28)' >&2; exit 2"), builder.CauseDiskFull, "the disk is full"},
		"does not find a package": {
			at("'pip compile'", "echo 'Because nosuch was not found in the package registry' >&2; exit 1"),
			builder.CausePackageNotFound, "nosuch is not in the index",
		},
		"finds no solution": {
			at("'pip compile'", "echo '  × No solution found when resolving dependencies:' >&2; exit 1"),
			builder.CauseUnsatisfiable, "cannot be installed together",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn(c.script)
			limit := "2m"
			if c.cause == builder.CauseTimeout {
				limit = "3s"
			}
			h.configure("[build]\ntimeout = \"" + limit + "\"\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\n")
			h.start()
			var s rpc.PoolStatus
			h.eventually(time.Minute, "the pool says that it fails",
				func() bool { s = h.pool("uv"); return s.Error != nil })
			e := s.Error
			if s.State != rpc.PoolFailing || s.Available != 0 || e.Cause != c.cause ||
				!strings.Contains(e.Message+e.Output, c.says) {
				t.Errorf("%s, %d available; %s: %s\n%s", s.State, s.Available, e.Cause, e.Message,
					e.Output[max(0, len(e.Output)-500):])
			}
			if len(e.Output) > 4096 {
				t.Errorf("%d bytes of output", len(e.Output))
			}
			h.eventually(time.Minute, "what it has made is gone", func() bool { return len(h.folders()) == 0 })
			if left := marked(h.home); len(left) > 0 {
				t.Errorf("processes that are left: %v", left)
			}
			if info, err := os.Stat(h.state("runtimed.log")); err != nil || info.Size() > 100_000 {
				t.Errorf("the log: %v, %v", info.Size(), err)
			}
		})
	}
}

func TestWhatASuccessfulToolLeavesRunningIsEnded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"holding its output":                     "sleep 88.125 &",
		"holding its output, deaf to SIGTERM":    "(trap '' TERM; sleep 88.125; sleep 88.125) &",
		"in another session, holding its output": "setsid sleep 88.125 &",
		"in another session, with nothing of it": "setsid sleep 88.125 </dev/null >/dev/null 2>&1 &",
		"in another session, as a child of nobody's": "(setsid sh -c 'sleep 88.125 & sleep 88.125' " +
			">/dev/null 2>&1 &) &",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := warmHouse(t, at(stepSync, script), 1)
			h.eventually(10*time.Second, "no process of the build is left",
				func() bool { return len(marked(h.home)) == 0 })
		})
	}
}

func TestHundredsOfBuildsLeaveNoZombies(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepVenv, "echo >>\"$HOME/builds\"\n[ $(($$ % 2)) = 0 ] || exit 1"))
	h.configure("[build]\nparallel = 4\nmin_free = \"1MB\"\n[pools.uv]\nsize = 8\n")
	d := h.start()
	built := func() int {
		data, _ := os.ReadFile(filepath.Join(h.home, "builds"))
		return len(data)
	}
	h.eventually(4*time.Minute, "hundreds of builds", func() bool {
		must[rpc.FlushResult](h, rpc.MethodFlush, nil)
		return built() >= rounds(200, 1000)
	})
	h.configure(quickly + "0\n")
	must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	h.settled(0, time.Minute)
	if children := childrenOf(t, d.cmd.Process.Pid); len(children) > 0 {
		t.Errorf("after %d builds it has children: %v", built(), children)
	}
}

// childrenOf are the processes whose parent is pid, zombies too, each as the system shows it.
func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	check(t, err)
	for _, path := range paths {
		data, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(data), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			found = append(found, string(data))
		}
	}
	return found
}

func TestTheSameFailureIsLoggedOnceAndStatusNever(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepVenv, "echo >>\"$HOME/builds\"; echo broken >&2; exit 1"))
	h.configure(quickly + "1\n")
	h.start()
	for i := range rounds(20, 500) {
		h.eventually(time.Minute, "a build fails", func() bool {
			e := h.pool("uv").Error
			return e != nil && e.Failures > i
		})
		must[rpc.FlushResult](h, rpc.MethodFlush, nil)
	}
	c := h.dial()
	for range rounds(2000, 100_000) {
		check(t, c.Call(t.Context(), rpc.MethodStatus, nil, nil))
	}
	if said := h.logged("broken"); len(said) != 1 {
		t.Errorf("%d lines say it:\n%s", len(said), strings.Join(said, ""))
	}
	if info, err := os.Stat(h.state("runtimed.log")); err != nil || info.Size() > 20_000 {
		t.Errorf("the log: %v, %v", info.Size(), err)
	}
}

func TestNoMoreBuildsRunAtOnceThanConfigured(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepVenv,
		`touch "$HOME/now.$$"; ls "$HOME" | grep -c '^now' >>"$HOME/counts"; sleep 0.1; rm "$HOME/now.$$"`))
	h.configure(quickly + "8\n")
	h.start()
	h.filled("uv", time.Minute)
	counts, err := os.ReadFile(filepath.Join(h.home, "counts"))
	check(t, err)
	if strings.ContainsAny(string(counts), "3456789") || !strings.Contains(string(counts), "2") {
		t.Errorf("builds at once: %q", counts)
	}
}

func TestTheBuildOfAKilledDaemonIsEndedAndNoStrangerIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepVenv, "[ -e \"$HOME/go\" ] || { setsid sleep 99.125 & sleep 99.125; }"))
	h.configure(quickly + "1\n")
	d := h.start()
	h.eventually(time.Minute, "a build hangs", func() bool { return len(marked(h.home)) >= 3 })
	stranger := exec.Command("sleep", "99.125") // the same program, another's
	stranger.Env = append(os.Environ(), "RUNT_BUILD_OF="+h.home+"-of-another")
	check(t, stranger.Start())
	ended := make(chan error, 1)
	go func() { ended <- stranger.Wait() }()
	defer stranger.Process.Kill()
	d.kill()
	if !running("99.125", h.home) {
		t.Error("the build ended with the daemon, so this shows nothing")
	}
	h.open("go")
	h.start()
	h.filled("uv", time.Minute)
	h.eventually(10*time.Second, "its processes are ended", func() bool { return len(marked(h.home+"/")) == 0 })
	select {
	case err := <-ended:
		t.Errorf("a stranger was ended: %v", err)
	default:
	}
}

func TestUVIsFoundWhereInstallersPutItThoughPATHIsAServiceManagers(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	local := filepath.Join(h.home, ".local")
	check(t, os.MkdirAll(local, 0o755))
	check(t, os.Rename(filepath.Join(h.home, "standin"), filepath.Join(local, "bin")))
	h.setenv("PATH", "/usr/bin:/bin")
	h.configure(quickly + "1\n")
	h.start()
	h.filled("uv", time.Minute)
}

func TestAPythonThatIsTooOldIsNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bin := filepath.Join(h.home, ".local/bin")
	check(t, os.MkdirAll(bin, 0o755))
	script := `#!/bin/sh
[ "$1 $2" != "python list" ] || {
  echo '[{"path":"/opt/old/python3","version":"3.6.9","implementation":"cpython","variant":"default"}]'; exit
}
echo 'error: no download' >&2; exit 2
`
	check(t, os.WriteFile(filepath.Join(bin, "uv"), []byte(script), 0o755))
	h.configure(fmt.Sprintf("[uv]\npath = %q\n%s1\n", filepath.Join(bin, "uv"), quickly))
	h.start()
	h.eventually(time.Minute, "the pool says that it fails", func() bool { return h.pool("uv").Error != nil })
	e := h.pool("uv").Error
	if e.Cause != builder.CausePythonMissing || !strings.Contains(e.Message,
		"needs Python >= 3.9, found 3.6.9 at /opt/old/python3") {
		t.Errorf("%s: %s", e.Cause, e.Message)
	}
	h.configure("[uv]\npath = \"/nowhere/uv\"\n" + quickly + "1\n")
	must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	h.eventually(time.Minute, "the missing tool is named", func() bool {
		e := h.pool("uv").Error
		return e != nil && e.Cause == builder.CauseToolMissing && strings.Contains(e.Message, "/nowhere/uv")
	})
}
