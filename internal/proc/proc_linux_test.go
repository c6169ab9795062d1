package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

const (
	tellsOfExits = true
	mapsAreSeen  = true
)

// mapFile has this process map a file.
func mapFile(t *testing.T, path string) (unmap func()) {
	t.Helper()
	testkit.Check(t, os.WriteFile(path, []byte("so"), 0o600))
	f, err := os.Open(path)
	testkit.Check(t, err)
	defer f.Close()
	data, err := syscall.Mmap(int(f.Fd()), 0, 2, syscall.PROT_READ, syscall.MAP_PRIVATE)
	testkit.Check(t, err)
	return func() { _ = syscall.Munmap(data) }
}

const firstThreadEnds = "RUNT_TEST_FIRST_THREAD_ENDS"

// init ends the first thread of this program where a test wants that, and leaves another one that works.
func init() {
	if os.Getenv(firstThreadEnds) == "" {
		return
	}
	go func() {
		time.Sleep(time.Minute)
		os.Exit(0)
	}()
	runtime.LockOSThread() // init runs on the first thread
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestAnOwnerWhoseFirstThreadHasEndedLives(t *testing.T) {
	self, err := os.Executable()
	testkit.Check(t, err)
	envs := t.TempDir()
	dir := filepath.Join(envs, "uv-threads")
	cmd := testkit.Spawn(t, []string{firstThreadEnds + "=1", "VIRTUAL_ENV=" + dir}, self)
	testkit.Soon(t, "its first thread has ended", func() bool {
		_, state, err := readStat(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return err == nil && state == 'Z'
	})
	owner, err := OwnerOf(cmd.Process.Pid)
	if err != nil || seenAs(owner) != Living {
		t.Errorf("it counts as ended: %v", err)
	}
	if found, err := users(envs, nil); err != nil || found["uv-threads"].PID != cmd.Process.Pid {
		t.Errorf("it uses no environment: %v, %v", found, err)
	}
	_ = cmd.Process.Kill()
	testkit.Soon(t, "it counts as ended", func() bool { return seenAs(owner) == Gone })
}

func TestAThreadOfTheKernelOwnsNothing(t *testing.T) {
	_ = procs(func(pid int) {
		if p, err := statOf(pid); err == nil && p.kernel {
			if _, err := Named(pid); err == nil {
				t.Errorf("the thread %d of the kernel can own", pid)
			}
		}
	})
	const stat = "2 (kthread) R) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 12 0 0"
	path := filepath.Join(t.TempDir(), "stat")
	testkit.Check(t, os.WriteFile(path, []byte(stat), 0o600))
	if p, state, err := readStat(path); err != nil || state != 'S' || !p.kernel || p.start != 12 || p.PID != 2 {
		t.Errorf("%+v, %c, %v", p, state, err)
	}
}

func TestAThreadOwnsNothing(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	testkit.Check(t, err)
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		testkit.Check(t, err)
		_, err = Named(id)
		if want := fmt.Sprintf("the process %d is only a thread of the process %d", id,
			os.Getpid()); id != os.Getpid() && (err == nil || err.Error() != want) {
			t.Errorf("%d: %v", id, err)
		}
	}
}

func TestAnOwnerInAContainerWithItsOwnNameForTheBootIsFoundByItsHost(t *testing.T) {
	if Namespace() != FirstPIDNamespace || Hides() {
		t.Skip("only the first PID namespace sees into the others")
	}
	cmd := testkit.Spawn(t, nil, "sleep", "600")
	owner, err := OwnerOf(cmd.Process.Pid)
	testkit.Check(t, err)
	owner.BootID, owner.Namespace = "its own", "1"
	if s := seenAs(owner); s != Living {
		t.Errorf("while it runs it is %v", s)
	}
	testkit.End(cmd)
	if s := seenAs(owner); s != Gone {
		t.Errorf("after its end it is %v", s)
	}
}

// A chain of processes, each of which ends as soon as it has started the next: a look that takes a while sees one of
// them.
func TestWhoIsStartedDuringTheLookIsSeen(t *testing.T) {
	envs := t.TempDir()
	script := `n=$1; [ "$n" = 0 ] && exit; sleep 0.03; sh -c "$0" "$0" $((n - 1)) &`
	held := map[string]Owner{"uv-chain": {}}
	cmd := testkit.Spawn(t, []string{"VIRTUAL_ENV=" + filepath.Join(envs, "uv-chain")}, "sh", "-c", script, script,
		"30")
	_ = cmd.Wait()
	for {
		found, err := users(envs, held)
		testkit.Check(t, err)
		if len(found) == 0 {
			if again, _ := users(envs, held); len(again) > 0 {
				t.Fatal("it was not seen, and lives")
			}
			return // the chain has ended
		}
	}
}

// A process that becomes another program shows nothing of its arguments and variables for a moment, in the middle of a
// look too.
func TestWhoBecomesAnotherProgramDuringTheLookIsSeen(t *testing.T) {
	envs := t.TempDir()
	script := `n=$1; [ "$n" = 0 ] && exit; exec sh -c "$0" "$0" $((n - 1))`
	cmd := testkit.Spawn(t, []string{"VIRTUAL_ENV=" + filepath.Join(envs, "uv-exec")}, "sh", "-c", script, script,
		"1500")
	for {
		found, err := users(envs, map[string]Owner{"uv-exec": {}})
		testkit.Check(t, err)
		if _, ended := statOf(cmd.Process.Pid); ended != nil {
			return
		}
		if len(found) == 0 {
			t.Fatal("it was not seen, and lives")
		}
	}
}

func TestTheEnvironmentOfAProcess(t *testing.T) {
	if got := EnvironOf(os.Getpid()); !slices.ContainsFunc(got,
		func(v string) bool { return v == "PATH="+os.Getenv("PATH") }) {
		t.Errorf("got %q", got)
	}
	if got := EnvironOf(1 << 30); got != nil {
		t.Errorf("of nobody: %q", got)
	}
}
