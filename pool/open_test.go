package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

// change rewrites the manifest of an environment.
func (w *world) change(id string, f func(*envdir.Manifest)) {
	w.Helper()
	m, _, err := w.store.ReadManifest(id)
	if err != nil {
		w.Fatal(err)
	}
	f(&m)
	if _, err := w.store.WriteManifest(w.store.Env(id), m); err != nil {
		w.Fatal(err)
	}
}

// changed is change as a way to damage an environment.
func changed(f func(*envdir.Manifest)) func(*world, string) error {
	return func(w *world, id string) error { w.change(id, f); return nil }
}

func TestARestartFindsWhatWasThere(t *testing.T) {
	inBubble(t, sized(3), func(w *world) {
		w.settled()
		kept, gone := w.get(1), w.get(2)
		w.pass(time.Minute)
		w.p.use(gone.Env.ID, true) // so that its folder stays
		w.release(gone.Env.ID)
		hold := make(chan struct{})
		w.b.set(func() { w.b.hold = hold })
		w.get(3)
		w.pass(2 * time.Second)
		w.want(2, 1, 2, 1)
		ready, half := w.ids(Ready), w.ids(Warming)[0]
		if _, err := os.Stat(filepath.Join(w.store.Env(half), "pyvenv.cfg")); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			w.crash()
			w.b.set(func() { w.b.began = nil })
			w.start()
			w.settled()
			w.want(2, 1, 2, 1)
			if got := w.ids(Ready); !slices.Equal(got, ready) {
				t.Fatalf("ready are %v, not %v", got, ready)
			}
			if slices.Contains(w.ids(""), half) || slices.Contains(w.folders(), half) {
				t.Fatal("the half made one is there")
			}
			half = w.ids(Warming)[0]
		}
		if !slices.Contains(w.ids(Leased), kept.Env.ID) {
			t.Error("a lease is lost")
		}
		close(hold)
		w.p.use(gone.Env.ID, false)
		w.pass(10 * time.Minute)
		w.want(3, 0, 2, 0)
		if n := len(w.store.Trashed()); n != 0 {
			t.Errorf("%d folders are still in the trash", n)
		}
	})
}

func TestAKillAtAnyLineOfABuildLeavesNothingThatCounts(t *testing.T) {
	for name, damage := range map[string]func(*world, string) error{
		"only the record": func(w *world, dir string) error { return os.RemoveAll(dir) },
		"half of it":      func(w *world, dir string) error { return os.Remove(filepath.Join(dir, "kernel.py")) },
		"no lease record": func(w *world, dir string) error { return os.Remove(filepath.Join(dir, envdir.LeaseName)) },
		"no manifest":     func(w *world, dir string) error { return nil },
		"half a manifest": func(w *world, dir string) error {
			return os.WriteFile(filepath.Join(dir, envdir.ManifestName+"123"), []byte("{"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				id := w.settled().ids(Ready)[0]
				w.crash()
				testkit.Check(t, errors.Join(w.store.Begin(id, "uv"), os.Remove(w.store.Manifest(w.store.Env(id))),
					damage(w, w.store.Env(id))))
				w.start()
				w.want(1, 0, 0, 0)
				if slices.Contains(w.folders(), id) || envdir.Exists(w.store.Record(id)) {
					t.Error("it is still there")
				}
			})
		})
	}
	t.Run("only the record was left to remove", func(t *testing.T) {
		inBubble(t, sized(1), func(w *world) {
			id := w.settled().ids(Ready)[0]
			w.crash()
			testkit.Check(t, w.store.Begin(id, "uv"))
			w.start()
			if w.want(1, 0, 0, 0); !slices.Equal(w.ids(Ready), []string{id}) || envdir.Exists(w.store.Record(id)) {
				t.Error("a whole environment was thrown away")
			}
		})
	})
}

func TestWhatIsNotWholeIsSetAside(t *testing.T) {
	for name, damage := range map[string]func(*world, string) error{
		"no JSON": func(w *world, id string) error {
			return os.WriteFile(w.store.Manifest(w.store.Env(id)), []byte(`{"id`), 0o600)
		},
		"empty": func(w *world, id string) error {
			return os.WriteFile(w.store.Manifest(w.store.Env(id)), nil, 0o600)
		},
		"another version":  changed(func(m *envdir.Manifest) { m.Version = 2 }),
		"no id":            changed(func(m *envdir.Manifest) { m.ID = "" }),
		"another pool":     changed(func(m *envdir.Manifest) { m.Pool = "ml" }),
		"no spec":          changed(func(m *envdir.Manifest) { m.SpecHash = "" }),
		"Python elsewhere": changed(func(m *envdir.Manifest) { m.Python = "/usr/bin/python3" }),
		"Python nearly here": func(w *world, id string) error {
			w.change(id, func(m *envdir.Manifest) { m.Python = w.store.Env(id) + "x/bin/python" })
			return nil
		},
		"a lease that a power loss emptied": func(w *world, id string) error {
			w.change(id, func(m *envdir.Manifest) { m.BootID = "before" })
			return os.Truncate(filepath.Join(w.store.Env(id), envdir.LeaseName), 0)
		},
		"no lease": func(w *world, id string) error {
			return os.Remove(filepath.Join(w.store.Env(id), envdir.LeaseName))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				id := w.settled().ids(Ready)[0]
				w.crash()
				testkit.Check(t, damage(w, id))
				w.start()
				if w.want(1, 0, 0, 0); slices.Contains(w.folders(), id) {
					t.Error("it is still there")
				}
				if lines := w.said("cannot be used and is set aside"); len(lines) != 1 ||
					!strings.Contains(lines[0], id) {
					t.Errorf("the log says %s", lines)
				}
			})
		})
	}
}

func TestALeasedEnvironmentStaysWhateverBecameOfItsManifest(t *testing.T) {
	for name, damage := range map[string]func(*world, string) error{
		"of a later daemon": changed(func(m *envdir.Manifest) { m.Version = 2 }),
		"no JSON": func(w *world, id string) error {
			return os.WriteFile(w.store.Manifest(w.store.Env(id)), nil, 0o600)
		},
		"of another boot": func(w *world, id string) error {
			w.change(id, func(m *envdir.Manifest) { m.BootID = "before" })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				id := w.get(1).Env.ID
				w.crash()
				testkit.Check(t, damage(w, id))
				w.start()
				w.pass(time.Hour)
				w.want(1, 0, 1, 0)
				w.p.End(1)
				w.want(1, 0, 0, 0)
			})
		})
	}
}

func TestAnOwnerOfAnotherBootIsGone(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		r := request(1, time.Hour)
		r.Owner.BootID = "before"
		if _, err := w.Acquire(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Second)
		w.want(1, 0, 0, 0)
	})
}

func TestAfterABootEnvironmentsAreVerifiedBeforeTheyCount(t *testing.T) {
	for _, works := range []bool{true, false} {
		inBubble(t, sized(2), func(w *world) {
			before := w.settled().ids(Ready)
			w.crash()
			for _, id := range before {
				w.change(id, func(m *envdir.Manifest) { m.BootID = "before" })
			}
			if !works {
				w.b.set(func() { w.b.verify = errors.New("kernel.py is gone") })
			}
			w.start()
			w.want(2, 0, 0, 0)
			if w.b.checked != 2 || slices.Equal(w.ids(Ready), before) != works {
				t.Errorf("works: %t; %d were checked; ready are %v, were %v", works, w.b.checked, w.ids(Ready),
					before)
			}
			if works && w.b.tries() != 2 {
				t.Error("a build began")
			}
			w.get(1)
			w.crash()
			w.start()
			if w.pass(time.Minute); w.b.checked != 2 {
				t.Error("they are checked at every start")
			}
			w.want(2, 0, 1, 0)
		})
	}
}

// A layer of an image has other inodes, and times of whole seconds. It may be used by the boot that made it.
func TestACopyOfAReadyEnvironmentIsReadyUnlessItsContentDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		boot   string
		damage func(dir string) error
		says   string // of the log; empty: nothing
	}{
		"in this boot":    {proc.BootID(), nil, ""},
		"in another boot": {"before", nil, ""},
		"changed, of the same size": {proc.BootID(), func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = /anywhere"), 0o600)
		}, "pyvenv.cfg was changed"},
		"without a file": {"before", func(dir string) error { return os.Remove(filepath.Join(dir, "kernel.py")) },
			"kernel.py is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				id := w.settled().ids(Ready)[0]
				w.crash()
				w.change(id, func(m *envdir.Manifest) { m.BootID = c.boot })
				from, to := w.store.Env(id), filepath.Join(t.TempDir(), "copy")
				testkit.Check(t, os.CopyFS(to, os.DirFS(from)))
				whole := time.Now().Add(-time.Hour).Truncate(time.Second)
				for _, file := range []string{"bin/python", "pyvenv.cfg", "kernel.py"} {
					testkit.Check(t, os.Chtimes(filepath.Join(to, file), whole, whole))
				}
				if c.damage != nil {
					testkit.Check(t, c.damage(to))
				}
				testkit.Check(t, errors.Join(os.RemoveAll(from), os.Rename(to, from)))
				w.start()
				w.want(1, 0, 0, 0)
				got := w.get(1)
				if (got.Env.ID == id) != (c.says == "") || got.Env.ID == id && got.Built {
					t.Errorf("%s is given, %s was ready", got.Env.ID, id)
				}
				if c.says != "" && len(w.said(c.says)) != 1 {
					t.Errorf("the log does not say %q: %s", c.says, w.said(""))
				}
			})
		})
	}
}

func TestWhatIsTheUsersOwnIsNeverTouched(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.settled().ids(Ready)[0]
		w.crash()
		outside := t.TempDir()
		env := func(name string) string { return w.store.Env(name) }
		manifest, err := os.ReadFile(w.store.Manifest(env(id)))
		testkit.Check(t, err)
		mine := []string{"my-env", "uv-0123456g", "uv-01234567", "uv-01234568", "uv-01234569", "notes.txt", id + ".bak"}
		for _, name := range mine[:4] {
			testkit.Check(t, os.MkdirAll(env(name), 0o700))
		}
		_ = os.Symlink(outside, env("uv-01234569"))
		if runtime.GOOS == "windows" && !envdir.Exists(env("uv-01234569")) { // which has a privilege for links
			mine = slices.Delete(mine, 4, 5)
		}
		if err := errors.Join(
			os.WriteFile(filepath.Join(env("my-env"), envdir.ManifestName), []byte("{}"), 0o600),
			// a copy of another one
			os.WriteFile(filepath.Join(env("uv-01234568"), envdir.ManifestName), manifest, 0o600),
			os.WriteFile(filepath.Join(outside, "work"), nil, 0o600),
			os.WriteFile(filepath.Join(outside, envdir.ManifestName),
				[]byte(strings.ReplaceAll(string(manifest), id, "uv-01234569")), 0o600),
			os.WriteFile(filepath.Join(outside, envdir.LeaseName), []byte(`{"state":"free"}`), 0o600),
			os.WriteFile(env("notes.txt"), nil, 0o600),
			os.CopyFS(env(id+".bak"), os.DirFS(env(id))),
			w.store.Begin("uv-01234569", "uv"), // a record alone is no licence to follow a link
			os.WriteFile(w.store.Record("my-env"), nil, 0o600),
		); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.want(1, 0, 0, 0)
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 0 })
		w.pass(time.Hour)
		c, err := w.GC(context.Background(), false)
		if err != nil || len(c.Removed) > 0 {
			t.Errorf("%+v, %v", c, err)
		}
		slices.Sort(mine)
		if got := w.folders(); !slices.Equal(got, mine) {
			t.Errorf("left are %v of %v", got, mine)
		}
		if _, err := os.Stat(filepath.Join(outside, "work")); err != nil {
			t.Error("a link was followed: ", err)
		}
		if lines := w.said("are left alone"); len(lines) != 1 {
			t.Errorf("the log says %s", lines)
		}
	})
}
