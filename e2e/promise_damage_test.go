//go:build e2e && unix

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// linked is fastUV whose environments have a link to a Python of HOME, as real ones do.
func linked(h *house) string {
	base := filepath.Join(h.home, "base")
	check(h.t, os.MkdirAll(base, 0o755))
	script := `#!/bin/sh
dir=${0%/bin/python}; site=$dir/lib/python3.12/site-packages
said='{"version":"3.12.0","prefix":"'$dir'","site_packages":"'$site'",'
said="$said"'"sentinels":["'$site'/ipykernel/__init__.py","'$site'/zmq/_zmq.so"]}'
case $3 in
stay) echo "$said" >&4; exec cat <&4 >/dev/null ;;
*) echo "$said" ;;
esac
`
	check(h.t, os.WriteFile(filepath.Join(base, "python3"), []byte(script), 0o755))
	return at(stepVenv, `for dir; do :; done; mkdir -p "$dir/bin"; echo home >"$dir/pyvenv.cfg"
ln -s "$HOME/base/python3" "$dir/bin/python"; exit`)
}

func rewrite(path string) error { return os.WriteFile(path, []byte("z\n"), 0o600) }

const site = "lib/python3.12/site-packages"

var damages = map[string]func(dir string) error{
	"all of it is gone": os.RemoveAll,
	"ipykernel is gone": func(dir string) error {
		return os.RemoveAll(filepath.Join(dir, site,
			"ipykernel"))
	},
	"ipykernel is empty": func(dir string) error {
		return os.Truncate(filepath.Join(dir, site,
			"ipykernel/__init__.py"), 0)
	},
	"the compiled part of zmq is cut": func(dir string) error {
		return os.Truncate(filepath.Join(dir, site,
			"zmq/_zmq.so"), 1)
	},
	"the compiled part is another": func(dir string) error {
		return rewrite(filepath.Join(dir, site,
			"zmq/_zmq.so"))
	},
	"its Python is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "bin/python")) },
	"its link leads nowhere": func(dir string) error {
		return relink(filepath.Join(dir, "bin/python"),
			"/nowhere/python3")
	},
	"its Python is another": func(dir string) error {
		return relink(filepath.Join(dir, "bin/python"),
			"/bin/sh")
	},
	"pyvenv.cfg is gone":       func(dir string) error { return os.Remove(filepath.Join(dir, "pyvenv.cfg")) },
	"its manifest is gone":     func(dir string) error { return os.Remove(filepath.Join(dir, "runtimed.json")) },
	"its manifest is noise":    func(dir string) error { return rewrite(filepath.Join(dir, "runtimed.json")) },
	"its lease record is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "lease")) },
	"a link is where it was": func(dir string) error {
		return errors.Join(os.Rename(dir, dir+".moved"), os.Symlink(dir+".moved", dir))
	},
	"a link to another environment is": func(dir string) error {
		return errors.Join(os.RemoveAll(dir),
			os.Symlink("/usr", dir))
	},
}

func relink(path, to string) error { return errors.Join(os.Remove(path), os.Symlink(to, path)) }

func TestADamagedEnvironmentIsNeverGivenButReplacedAndOneLineSaysWhy(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.withStandIn(linked(h))
			h.configure(quickly + "2\n")
			d := h.start()
			h.filled("uv", time.Minute)
			bad := h.ids(rpc.EnvReady)[0] // the oldest goes first
			check(t, damage(h.state("envs", bad)))
			owner := newTenantFor(t)
			for range 2 {
				r := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())})
				if err := whole(r.Env.Path); err != nil || r.Env.ID == bad {
					t.Errorf("given: %s, damaged: %s; %v", r.Env.ID, bad, err)
				}
				must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
			}
			if said := h.logged("damaged", bad); len(said) != 1 {
				t.Errorf("the log says:\n%s", strings.Join(said, ""))
			}
			h.filled("uv", time.Minute)
			if !strings.HasPrefix(name, "a link") {
				h.settled(2, time.Minute)
			} else if _, err := os.Stat("/usr/bin"); err != nil {
				t.Fatal("what the link leads to was removed")
			}

			// the same while no daemon runs
			bad = h.ids(rpc.EnvReady)[0]
			d.kill()
			check(t, damage(h.state("envs", bad)))
			h.start()
			for range 2 {
				if r := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())}); whole(r.Env.Path) != nil ||
					r.Env.ID == bad {
					t.Errorf("damaged while no daemon ran, and given: %s", r.Env.ID)
				}
			}
			h.filled("uv", time.Minute)
		})
	}
}

func TestWhenTheBasePythonIsUpgradedAwayItsEnvironmentsAreReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.withStandIn(linked(h))
	h.configure(quickly + "2\n")
	h.start()
	h.filled("uv", time.Minute)
	bad := h.ids(rpc.EnvReady)
	base := filepath.Join(h.home, "base/python3")
	check(t, os.Rename(base, base+".old"))
	_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{WaitMS: new(int64(2000))})
	if kind := rpc.KindOf(err); kind != rpc.KindBuildFailed && kind != rpc.KindPoolEmpty {
		t.Errorf("acquire without a Python: %v", err)
	}
	check(t, os.Rename(base+".old", base))
	must[rpc.FlushResult](h, rpc.MethodFlush, nil)
	if r := h.acquire(rpc.AcquireParams{OwnerPID: new(newTenantFor(t).pid())}); slices.Contains(bad, r.Env.ID) {
		t.Errorf("given: %s", r.Env.ID)
	}
	for _, id := range bad {
		if said := h.logged("damaged", id); len(said) != 1 {
			t.Errorf("of %s the log says:\n%s", id, strings.Join(said, ""))
		}
	}
}

func TestADiskThatTurnsReadOnlyCostsNoEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.tmpfs(t, h.state("envs"), "size=16m")
	h.configure(quickly + "2\n")
	h.start()
	h.filled("uv", time.Minute)
	held := h.acquire(rpc.AcquireParams{}).Env.ID
	h.filled("uv", time.Minute)
	ready := h.ids(rpc.EnvReady)
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, h.state("envs")).CombinedOutput(); err != nil {
			lacking(t, "a file system cannot be remounted here: "+string(out))
		}
	}
	remount("ro")
	c := h.dial()
	for method, params := range map[string]any{
		rpc.MethodAcquire: rpc.AcquireParams{}, rpc.MethodRelease: rpc.EnvParams{Env: held},
		rpc.MethodAdopt: rpc.AdoptParams{Env: held, OwnerPID: os.Getpid()},
	} {
		for range 3 {
			err := c.Call(t.Context(), method, params, nil)
			var e *rpc.Error
			if !errors.As(err, &e) || e.Data.Kind != rpc.KindBuildFailed || e.Data.Cause != builder.CausePermission ||
				!strings.Contains(e.Message, "read-only") ||
				e.Data.Hint == "" {
				t.Errorf("%s: %+v", method, err)
			}
		}
	}
	if now := h.ids(rpc.EnvReady); !slices.Equal(now, ready) {
		t.Errorf("ready are %v, were %v", now, ready)
	}
	if now := h.ids(rpc.EnvLeased); !slices.Equal(now, []string{held}) {
		t.Errorf("leased are %v", now)
	}
	if said := h.logged("damaged"); len(said) > 0 {
		t.Errorf("the log says %s", said)
	}
	if said := h.logged("environments cannot be leased at the moment"); len(said) != 1 {
		t.Errorf("the log says %s", said)
	}
	remount("rw")
	if got := h.acquire(rpc.AcquireParams{}); !slices.Contains(ready, got.Env.ID) {
		t.Errorf("got %s, and ready were %v", got.Env.ID, ready)
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: held})
	h.eventually(time.Minute, "what was released goes", func() bool { return !slices.Contains(h.folders(), held) })
}
