//go:build e2e && unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/rpc"
)

// fastUV makes in some 30 ms what looks like an environment: for tests of what the daemon does with environments, not
// of what is in them. It is slow enough to be killed between any two of its files.
const fastUV = `
case "$1 $2" in
"pip compile")
  while [ "$1" != --output-file ]; do shift; done
  echo 'ipykernel==7.0.0' >"$2" ;;
venv*)
  for dir; do :; done
  mkdir -p "$dir/bin" || exit 1
  echo 'home = /usr/bin' >"$dir/pyvenv.cfg"
  cat >"$dir/bin/python" <<EOF
#!/bin/sh
site=$dir/lib/python3.12/site-packages
said='{"version":"$version","prefix":"'$dir'","site_packages":"'\$site'",'
said="\$said"'"sentinels":["'\$site'/ipykernel/__init__.py","'\$site'/zmq/_zmq.so"]}'
case \$3 in
stay) echo "\$said" >&4; exec cat <&4 >/dev/null ;; # a standby that is never ready
*) echo "\$said" ;;
esac
EOF
  sleep 0.00$(( $$ % 8 + 1 ))
  chmod +x "$dir/bin/python" ;;
"pip sync")
  dir=${4%/bin/python}; site=$dir/lib/python3.12/site-packages
  mkdir -p "$site/ipykernel"
  sleep 0.00$(( $$ % 7 + 1 ))
  echo x >"$site/ipykernel/__init__.py"
  mkdir -p "$site/zmq" "$site/ipykernel-7.0.0.dist-info"
  sleep 0.00$(( $$ % 5 + 1 ))
  echo y >"$site/zmq/_zmq.so"
  echo z >"$site/last"
  printf 'ipykernel/__init__.py,,2\nzmq/_zmq.so,,2\nlast,,2\n' >"$site/ipykernel-7.0.0.dist-info/RECORD" ;;
esac`

// wholeFiles are what fastUV leaves in every environment.
var wholeFiles = []string{"bin/python", "pyvenv.cfg", "runtimed.json", "lease",
	"lib/python3.12/site-packages/ipykernel/__init__.py", "lib/python3.12/site-packages/last"}

// rounds is how often a test repeats something: often enough to find a fault at times, and very often in the long mode.
func rounds(short, long int) int {
	if os.Getenv("RUNTIMED_SOAK") != "" {
		return long
	}
	return short
}

// tenant is one client that holds environments: a process that owns them, as the kernel sees it.
type tenant struct {
	cmd  *exec.Cmd
	ends sync.Once
}

func newTenant(t testing.TB) *tenant {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	check(t, cmd.Start())
	return &tenant{cmd: cmd}
}

func (o *tenant) pid() int { return o.cmd.Process.Pid }

func (o *tenant) end() {
	o.ends.Do(func() {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
	})
}

// ledger is what the clients know: which environments they were given, and which of them are still theirs.
type ledger struct {
	mu       sync.Mutex
	given    map[string]bool // ever, by any reply that was read
	held     map[string]*tenant
	released map[string]bool // answered
	faults   []string
	counts   map[string]int
}

func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

func (l *ledger) acquired() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts["acquired"]
}

// take records an environment that a client was given.
func (l *ledger) take(env rpc.Env, owner *tenant) {
	l.mu.Lock()
	twice := l.given[env.ID]
	l.given[env.ID] = true
	l.held[env.ID] = owner
	l.counts["acquired"]++
	l.mu.Unlock()
	if twice {
		l.fault("%s was handed out twice", env.ID)
	}
	for _, name := range wholeFiles {
		if _, err := os.Stat(filepath.Join(env.Path, name)); err != nil {
			l.fault("%s was handed out and is not whole: %v", env.ID, err)
		}
	}
}

// look checks that whatever a living client holds is there.
func (l *ledger) look(h *house) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.held {
		if _, err := os.Stat(h.state("envs", id, "bin/python")); err != nil {
			l.faults = append(l.faults, fmt.Sprintf("%s is held by a living client, and gone: %v", id, err))
			delete(l.held, id)
		}
	}
}

// client acquires, holds, adopts, releases or dies, again and again, whatever happens to the daemon.
func (l *ledger) client(ctx context.Context, t *testing.T, h *house) {
	for ctx.Err() == nil {
		owner := newTenant(t)
		got, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{
			OwnerPID: new(owner.pid()), WaitMS: new(rand.Int64N(300)), Key: new("k"),
		})
		if err != nil {
			l.count(rpc.KindOf(err))
			if kind := rpc.KindOf(err); kind == rpc.KindInternal || kind == "" {
				l.fault("acquire: %v", err)
			}
			owner.end()
			time.Sleep(time.Millisecond)
			continue
		}
		l.take(got.Env, owner)
		time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		if rand.IntN(4) == 0 {
			next := newTenant(t)
			if _, err := ask[rpc.AdoptResult](h, rpc.MethodAdopt,
				rpc.AdoptParams{Env: got.Env.ID, OwnerPID: next.pid()}); err == nil {
				l.count("adopted")
				owner.end() // the environment is the next one's now
				owner = next
				l.mu.Lock()
				l.held[got.Env.ID] = next
				l.mu.Unlock()
				time.Sleep(time.Duration(rand.Int64N(int64(30 * time.Millisecond))))
			} else {
				defer next.end() // it may be the owner after all: the answer was lost
			}
		}
		l.mu.Lock()
		delete(l.held, got.Env.ID) // from here on it may go
		l.mu.Unlock()
		if rand.IntN(2) == 0 {
			if _, err := ask[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID}); err == nil {
				l.mu.Lock()
				l.released[got.Env.ID] = true
				l.counts["released"]++
				l.mu.Unlock()
			} else {
				l.count("release " + rpc.KindOf(err))
			}
		}
		owner.end()
	}
}

func TestNothingIsLostOrDoubleWhateverLineTheDaemonIsKilledAt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	configs := []string{
		"[build]\nparallel = 2\nmin_free = \"1MB\"\n[pools.uv]\nsize = 3\n",
		"[build]\nparallel = 2\nmin_free = \"1MB\"\n[pools.uv]\nsize = 2\n",
		"[build]\nparallel = 2\nmin_free = \"1MB\"\n[pools.uv]\nsize = 3\npackages = [\"pip\"]\n",
	}
	h.configure(configs[0])
	l := &ledger{given: map[string]bool{}, held: map[string]*tenant{}, released: map[string]bool{},
		counts: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() { l.client(ctx, t, h) })
	}
	var slowest time.Duration
	pace := 250 * time.Millisecond
	n := rounds(25, 1000)
	for range n {
		began := time.Now()
		d := h.start()
		slowest = max(slowest, time.Since(began))
		if rand.IntN(3) == 0 {
			h.configure(configs[rand.IntN(len(configs))])
			_, _ = ask[rpc.ReloadResult](h, rpc.MethodReload, nil)
		}
		before := l.acquired()
		time.Sleep(rand.N(pace))
		d.kill()
		l.look(h)
		if l.acquired() == before { // on a busy machine nothing comes in so short a time
			pace = min(2*pace, 5*time.Second)
		} else {
			pace = max(pace*4/5, 250*time.Millisecond)
		}
	}
	cancel()
	clients.Wait()

	h.configure(configs[0])
	h.start()
	h.eventually(30*time.Second, "it has settled", func() bool {
		s := h.pool("uv")
		return s.Available == 3 && s.Warming+s.Removing+s.Leased == 0
	})
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
		if l.given[e.ID] {
			l.fault("%s was handed out before, and is %s now", e.ID, e.State)
		}
	}
	if names := h.folders(); len(names) > 4 {
		l.fault("folders: %v", names)
	}
	if records, _ := os.ReadDir(h.state("envs/.new")); len(records) > 0 {
		l.fault("build records: %v", records)
	}
	if found := marked(h.state("envs")); len(found) > 0 {
		l.fault("processes of builds: %v", found)
	}
	t.Logf("%d kills; a daemon answered at the latest %s after its start; %v", n, slowest, l.counts)
	if limit := 10 * time.Second; slowest > limit {
		l.fault("a daemon took %s to answer", slowest)
	}
	if l.counts["acquired"] < n/4 {
		l.fault("only %d acquires were answered in %d rounds", l.counts["acquired"], n)
	}
	slices.Sort(l.faults)
	for _, f := range slices.Compact(l.faults) {
		t.Error(f)
	}
}

// marked are the processes that carry the mark of a build below dir.
func marked(dir string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains("\x00"+string(data), "\x00RUNT_BUILD_OF="+dir) {
			found = append(found, path)
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile, or another's
		}
	}
	return found
}
