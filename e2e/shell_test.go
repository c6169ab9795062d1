//go:build e2e && unix

package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestScriptsWithADaemon(t *testing.T) { runScripts(t, "testdata/daemon") }

// Bash is on every machine here; the others are tried where they are.
func TestTheShellsCompleteWithTheirScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shells := map[string][]string{
		"bash": {"--norc", "-c", `
			source <(runt completion bash)
			ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _runt runt; echo "${COMPREPLY[*]}"; }
			ask runt da
			ask runt env list --state ""
			complete -p runt`},
		"zsh": {"-f", "-c", `
			autoload -U compinit && compinit -u -D
			source <(runt completion zsh)
			compadd() { shift; print -r -- "$*"; }
			ask() { words=("$@"); CURRENT=$#; _runt; }
			ask runt da
			ask runt env list --state ""
			print "complete -o default -F $_comps[runt] runt"`},
		"fish": {"--no-config", "-c", `
			runt completion fish | source
			complete -C "runt da" | string join " "
			complete -C "runt env list --state " | sort -r | string join " "
			echo complete -o default -F _runt runt`},
		"pwsh": {"-NoProfile", "-NonInteractive", "-Command", `
			runt completion powershell | Out-String | Invoke-Expression
			function ask($line) {
				$found = [System.Management.Automation.CommandCompletion]::CompleteInput($line, $line.Length, $null)
				($found.CompletionMatches |
				ForEach-Object CompletionText) -join ' ' }
			ask 'runt da'
			ask 'runt env list --state '
			'complete -o default -F _runt runt'`},
	}
	for shell, args := range shells {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil && shell == "pwsh" {
				t.Skip(err) // no package of Debian's
			} else if err != nil {
				lacking(t, err.Error())
			}
			cmd := exec.Command(shell, args...)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(runtProgram)+":"+os.Getenv("PATH"), "HOME="+dir,
				"RUNTIMED_SOCKET="+dir+"/none")
			out, err := cmd.CombinedOutput()
			want := "daemon\nwarming ready leased removing\ncomplete -o default -F _runt runt\n"
			if shell == "fish" {
				want = strings.Replace(want, "warming ready leased removing", "warming removing ready leased", 1)
			}
			if err != nil || string(out) != want {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestASocketThatAManagerPassedIsServedAndStaysWhereItIs(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	before, err := os.Lstat(u.socket)
	check(t, err)
	first := u.started()
	info := must[rpc.Info](u.house, rpc.MethodInfo, nil)
	if info.StartedBy != rpc.StartedByService || info.PID != first.cmd.Process.Pid || info.Socket != u.socket {
		t.Errorf("it says %+v", info)
	}
	first.stop()
	if after, err := os.Lstat(u.socket); err != nil || !os.SameFile(before, after) {
		t.Fatalf("the socket was touched: %v", err)
	}
	if _, err := os.Lstat(u.state("daemon.json")); !os.IsNotExist(err) {
		t.Error("daemon.json is still there")
	}

	between, err := net.Dial("unix", u.socket)
	check(t, err)
	defer between.Close()
	if _, err := io.WriteString(between, line(7, rpc.MethodPing, nil)); err != nil {
		t.Fatal(err)
	}
	u.started()
	_ = between.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got, err := bufio.NewReader(between).ReadString('\n'); err != nil ||
		!strings.Contains(got, `"id":7,"result":{}`) {
		t.Errorf("who connected while no daemon ran got %q, %v", got, err)
	}
}

func TestASecondDaemonLeavesThePassedSocketAlone(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	first := u.started()
	second := u.run(nil, u.file)
	if code := second.exit(10 * time.Second); code != exitUseless ||
		!strings.Contains(second.stderr.String(), "another daemon runs") {
		t.Errorf("exit code %d: %s", code, second.stderr)
	}
	if got := must[rpc.Info](u.house, rpc.MethodInfo, nil); got.PID != first.cmd.Process.Pid {
		t.Errorf("%d answers", got.PID)
	}
	third := u.run(nil, u.file) // finds the lock held, and then free
	time.Sleep(200 * time.Millisecond)
	first.signal(syscall.SIGTERM)
	u.eventually(20*time.Second, "the next one has taken over", func() bool {
		select {
		case <-third.ended:
			t.Fatalf("the next one did not wait for the lock: %s", third.stderr)
		default:
		}
		got, err := ask[rpc.Info](u.house, rpc.MethodInfo, nil)
		return err == nil && got.PID == third.cmd.Process.Pid
	})
}

// TestARestartTurnsNobodyAway has clients come all the time while one daemon goes and the next one comes: each is
// answered, by one of them, or told to try again.
func TestARestartTurnsNobodyAway(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("trap '' TERM; sleep 600 & wait; sleep 600")
	u.configure("[pools.uv]\nsize = 1\n")
	d := u.started()
	waiter := make(chan error)
	go func() {
		_, err := ask[rpc.AcquireResult](u.house, rpc.MethodAcquire, nil)
		waiter <- err
	}()
	u.eventually(10*time.Second, "one waits and a build hangs", func() bool {
		s := u.pool("uv")
		return s.Waiting == 1 && s.Warming > 0
	})
	done, all := make(chan bool), sync.WaitGroup{}
	var answered, later atomic.Int32
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				switch _, err := ask[rpc.None](u.house, rpc.MethodPing, nil); {
				case err == nil:
					answered.Add(1)
				case rpc.KindOf(err) == rpc.KindShuttingDown:
					later.Add(1)
				default:
					t.Errorf("a client was told %v", err)
				}
			}
		})
	}
	began := time.Now()
	d.stop()
	if err := <-waiter; rpc.KindOf(err) != rpc.KindShuttingDown {
		t.Errorf("who waited was told %v", err)
	}
	u.started()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the restart took %s", took)
	}
	before := answered.Load()
	u.eventually(5*time.Second, "the next daemon answers", func() bool { return answered.Load() > before+100 })
	close(done)
	all.Wait()
	t.Logf("%d were answered, %d told to come again", answered.Load(), later.Load())
}

func TestAPassedSocketThatClientsCouldNotFindIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files func(*unit) []*os.File
		want  string
	}{
		"elsewhere": {func(u *unit) []*os.File {
			return []*os.File{u.copyOf(u.listen(u.state("other.sock")))}
		}, "and clients look at "},
		"two": {func(u *unit) []*os.File { return []*os.File{u.file, u.file} }, "2 sockets, and one is expected"},
		"datagrams": {func(u *unit) []*os.File {
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: u.state("d.sock"), Net: "unixgram"})
			check(t, err)
			defer conn.Close()
			return []*os.File{u.copyOf(conn)}
		}, "a listening stream socket"},
		"a port": {func(u *unit) []*os.File {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			defer ln.Close()
			return []*os.File{u.copyOf(ln.(*net.TCPListener))}
		}, "not a Unix socket"},
		"a file": {func(u *unit) []*os.File {
			f, err := os.Create(u.state("file"))
			check(t, err)
			t.Cleanup(func() { _ = f.Close() })
			return []*os.File{f}
		}, "a listening stream socket"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnit(t)
			files := c.files(u)
			u.passing(len(files))
			d := u.run(nil, files...)
			if code := d.exit(10 * time.Second); code != exitUseless || !strings.Contains(d.stderr.String(), c.want) {
				t.Errorf("exit code %d, and not %q: %s", code, c.want, d.stderr)
			}
			if _, err := os.Lstat(u.socket); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAPassedSocketThatIsOpenToOthersIsClosedToThem(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	check(t, os.Chmod(u.socket, 0o666))
	u.started()
	if info, err := os.Lstat(u.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestBuildsGetNothingOfWhatTheManagerPassed(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn(`env > "$HOME/env"; ls -l /proc/$$/fd > "$HOME/fds"; exit 1`)
	u.configure("[pools.uv]\nsize = 1\n")
	u.setenv("WATCHDOG_USEC", "60000000")
	u.script = `exec 9>"$HOME/lock"; ` + u.script // a starter that holds a lock
	u.started()
	u.eventually(20*time.Second, "a build has failed", func() bool { return u.pool("uv").Error != nil })
	env, err := os.ReadFile(filepath.Join(u.home, "env"))
	if err != nil || !strings.Contains(string(env), "RUNT_BUILD_OF=") {
		t.Fatalf("%v: %s", err, env)
	}
	for _, name := range []string{"LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "INVOCATION_ID"} {
		if strings.Contains(string(env), name) {
			t.Errorf("a build gets %s", name)
		}
	}
	fds, err := os.ReadFile(filepath.Join(u.home, "fds"))
	if err != nil || strings.Contains(string(fds), "socket:") || strings.Contains(string(fds), "/lock") {
		t.Errorf("a build gets a socket or a lock: %v\n%s", err, fds)
	}
}
