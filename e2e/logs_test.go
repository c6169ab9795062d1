//go:build e2e && unix

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// stderrFile is a file that stands for a manager's stream, and the variable that names it.
func stderrFile(t *testing.T) (*os.File, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	check(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f, nameOf(t, f)
}

// nameOf is how systemd names a stream to who writes to it.
func nameOf(t *testing.T, f *os.File) string {
	t.Helper()
	info, err := f.Stat()
	check(t, err)
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal stands for that of systemd: the daemon finds its socket where systemd's is, in a mount namespace of its own.
func (u *unit) journal(t *testing.T) (entries func() []map[string]string) {
	u.t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "only root can put a socket where that of the journal is")
	}
	dir := filepath.Join(filepath.Dir(u.home), "journal")
	check(u.t, os.Mkdir(dir, 0o700))
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unixgram"})
	check(u.t, err)
	u.t.Cleanup(func() { _ = conn.Close() })
	u.script = "exec unshare --mount sh -c 'mount -t tmpfs none /run && mkdir /run/systemd && ln -s " + dir +
		" /run/systemd/journal && " + u.script + `' sh "$@"`
	var mu sync.Mutex
	var heard []map[string]string
	go func() {
		buf := make([]byte, 1<<20)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			heard = append(heard, journalFields(string(buf[:n])))
			mu.Unlock()
		}
	}()
	return func() []map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(heard)
	}
}

// journalFields reads a datagram of the journal's protocol: NAME=value, or NAME, the length, and a value of several
// lines.
func journalFields(data string) map[string]string {
	fields := map[string]string{}
	for data != "" {
		line, rest, _ := strings.Cut(data, "\n")
		name, value, ok := strings.Cut(line, "=")
		if !ok && len(rest) >= 8 {
			n := int(binary.LittleEndian.Uint64([]byte(rest)))
			value, rest = rest[8:8+n], rest[9+n:]
		}
		fields[name], data = value, rest
	}
	return fields
}

func TestTheJournalGetsLinesWithALevelAndWithoutATime(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("echo one >&2; echo two >&2; exit 1")
	u.configure("[pools.uv]\nsize = 1\n")
	stderr, name := stderrFile(t)
	u.setenv("JOURNAL_STREAM", name)
	entries := u.journal(t)
	d := u.run(stderr, u.file)
	u.hears("builds fail")
	if info := must[rpc.Info](u.house, rpc.MethodInfo, nil); info.Log != rpc.LogJournal {
		t.Errorf("its log is %s", info.Log)
	}
	d.stop()
	for _, e := range entries() {
		var line struct{ Level, Time, Msg string }
		if err := json.Unmarshal([]byte(e[rpc.JournalEntry]), &line); err != nil || line.Time == "" ||
			line.Level == "" {
			t.Errorf("%v: %q is no line of the log", err, e)
		}
		if !regexp.MustCompile(`^[3467]$`).MatchString(e["PRIORITY"]) || strings.Contains(e["MESSAGE"], line.Time) {
			t.Errorf("an entry is %q", e)
		}
	}
	first := fmt.Sprintf(
		`starting {"version": %q, "pid": %d, "config": %q, "state": %q, "started_by": "service", "program": `,
		rpc.Version(), d.cmd.Process.Pid, filepath.Join(u.home, ".config/runt/config.toml"), u.state())
	if e := entries()[0]; e["PRIORITY"] != "6" || !strings.HasPrefix(e["MESSAGE"], first) {
		t.Errorf("the first entry is %q, and not %q", e, first)
	}
	if !slices.ContainsFunc(entries(), func(e map[string]string) bool {
		return e["PRIORITY"] == "4" && strings.HasPrefix(e["MESSAGE"], `pool: build failed {"pool": "uv", "cause": `) &&
			strings.Contains(e[rpc.JournalEntry], `one\ntwo`)
	}) {
		t.Errorf("the failure does not read well:\n%s", entries())
	}
	if data, err := os.ReadFile(stderr.Name()); err != nil || len(data) > 0 {
		t.Errorf("on stderr it says %s, %v", data, err)
	}
	if _, err := os.Lstat(u.state("runtimed.log")); !os.IsNotExist(err) {
		t.Error("there is a log file too")
	}
}

func TestTheEndOfTheJournalIsNotTheEndOfTheDaemon(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	reads, writes, err := os.Pipe()
	check(t, err)
	u.setenv("JOURNAL_STREAM", nameOf(t, writes))
	d := u.run(writes, u.file)
	u.hears("READY=1")
	_ = writes.Close()
	_ = reads.Close()
	must[rpc.ReloadResult](u.house, rpc.MethodReload, nil) // which is logged
	must[rpc.None](u.house, rpc.MethodPing, nil)
	d.stop()
}

func TestWhatKeepsItFromStartingIsAnErrorInTheJournal(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.configure("[pools.uv]\nsze = 1\n")
	stderr, name := stderrFile(t)
	u.setenv("JOURNAL_STREAM", name)
	if code := u.run(stderr, u.file).exit(10 * time.Second); code != exitUseless {
		t.Errorf("exit code %d", code)
	}
	data, err := os.ReadFile(stderr.Name())
	check(t, err)
	for l := range strings.Lines(string(data)) {
		if !strings.HasPrefix(l, "<3>runtimed: ") {
			t.Errorf("a line is %q", l)
		}
	}
	if !strings.Contains(string(data), "pools.uv.sze") {
		t.Errorf("it says %s", data)
	}
}

func TestAnotherProcessesJournalIsNotOurs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.setenv("JOURNAL_STREAM", "8:12345")
	d := h.start()
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.Log != h.state("runtimed.log") {
		t.Errorf("its log is %s", info.Log)
	}
	d.stop()
	if d.stderr.Len() > 0 {
		t.Errorf("on stderr it says %s", d.stderr)
	}
}

func TestEachRunBeginsWithALineOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("log_level = \"debug\"\n" + off)
	d := h.start()
	second := h.launch()
	if code := second.exit(10 * time.Second); code != exitUseless {
		t.Errorf("exit code %d", code)
	}
	d.stop()
	data, err := os.ReadFile(h.state("runtimed.log"))
	check(t, err)
	first, _, _ := strings.Cut(string(data), "\n")
	var told map[string]any
	if err := json.Unmarshal([]byte(first), &told); err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	for name, want := range map[string]any{
		"msg": "starting", "version": rpc.Version(), "pid": float64(d.cmd.Process.Pid), "state": h.state(),
		"config": filepath.Join(h.home, ".config/runt/config.toml"), "started_by": rpc.StartedByHand,
	} {
		if told[name] != want {
			t.Errorf("%s is %v, and not %v", name, told[name], want)
		}
	}
	if n := strings.Count(string(data), `"msg":"starting"`); n != 1 {
		t.Errorf("%d runs: one that did not get the lock has written", n)
	}
}

func TestALogThatIsDeletedBeginsAnew(t *testing.T) {
	t.Parallel()
	h, _ := quietHouse(t)
	check(t, os.Remove(h.state("runtimed.log")))
	h.eventually(10*time.Second, "the log is there again", func() bool {
		_, err := os.Lstat(h.state("runtimed.log"))
		return err == nil
	})
	h.eventually(5*time.Second, "it says why",
		func() bool { return len(h.logged("the log was removed by somebody")) == 1 })
}

func TestACrashIsToldInTheLogThatIsThereAfterARotation(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		lacking(t, "there is no /proc to see open files in")
	}
	h, d := quietHouse(t)
	log := h.state("runtimed.log")
	check(t, os.Rename(log, h.state("runtimed-2026-01-02T03-04-05.678-size.log")))
	check(t, os.WriteFile(log, nil, 0o600))
	now, err := os.Stat(log)
	check(t, err)
	h.eventually(10*time.Second, "the daemon has the new log open", func() bool {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", d.cmd.Process.Pid))
		return slices.ContainsFunc(fds, func(fd string) bool {
			open, err := os.Stat(fd)
			return err == nil && os.SameFile(now, open)
		})
	})
	d.signal(syscall.SIGABRT)
	d.exit(10 * time.Second)
	if data, _ := os.ReadFile(log); !strings.Contains(string(data), "SIGABRT") {
		t.Errorf("the log tells of no crash: %s", data)
	}
}

func TestPasswordsInURLsDoNotReachTheLog(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	h.configure(off + "[uv]\nlink = \"https://me:geheim@index.test/simple\"\n")
	d.signal(syscall.SIGHUP)
	h.eventually(10*time.Second, "the fault is logged", func() bool {
		return len(h.logged("the configuration is not taken over", "uv.link", "https://***@index.test/simple")) > 0
	})
	if len(h.logged("geheim")) > 0 {
		t.Error("the log tells the password")
	}
	d.stop()
	again := h.launch()
	again.exit(10 * time.Second)
	if said := again.stderr.String(); strings.Contains(said, "geheim") || !strings.Contains(said, "uv.link") {
		t.Errorf("at its start it says %s", said)
	}
}
