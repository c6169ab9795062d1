package pool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

func TestALeaseIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	s := envdir.Store{Dir: dir}
	testkit.Check(t, errors.Join(s.Usable(s.Records()), s.CreateLease(dir)))
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, want := range []envdir.LeaseRecord{
		{State: envdir.LeaseFree},
		{State: envdir.LeaseHeld,
			Lease: &envdir.Lease{Owner: ownerNo(4711), Label: "a <b> & \"c\" \u2028 é", Key: "k", LeasedAt: at}},
		{State: envdir.LeaseHeld, Lease: &envdir.Lease{Owner: ownerNo(1), LeasedAt: at,
			Label: strings.Repeat("\u2028", envdir.MaxText/3), Key: strings.Repeat(`\`, envdir.MaxText)}},
		{State: envdir.LeaseHeld, Lease: &envdir.Lease{Owner: ownerNo(1)}},
		{State: envdir.LeaseReleased},
		{State: envdir.LeaseFree},
	} {
		testkit.Check(t, s.WriteLease(dir, want))
		got, err := readWithoutFolder(dir)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%v\n%s", err, cmp.Diff(want, got))
		}
		if info, _ := os.Stat(filepath.Join(dir, envdir.LeaseName)); info.Size() != envdir.LeaseSize ||
			runtime.GOOS != "windows" && info.Mode() != 0o600 { // where a file has a list of who may
			t.Errorf("the record has %d bytes and mode %s", info.Size(), info.Mode())
		}
	}
	if err := s.WriteLease(dir, envdir.LeaseRecord{State: envdir.LeaseHeld,
		Lease: &envdir.Lease{Label: strings.Repeat("x", envdir.LeaseSize)}}); err == nil {
		t.Error("a record of two blocks is written")
	}
}

func TestALeaseIsNeverWrittenIntoWhatSomebodyPutInItsPlace(t *testing.T) {
	for what, put := range map[string]func(t *testing.T, path, precious string) error{
		"a link": func(t *testing.T, path, precious string) error {
			testkit.Link(t, precious, path)
			return nil
		},
		"a link to nothing": func(t *testing.T, path, precious string) error {
			testkit.Link(t, precious+"/no", path)
			return nil
		},
		"a second name of it": func(_ *testing.T, path, precious string) error { return os.Link(precious, path) },
		"a folder":            func(_ *testing.T, path, _ string) error { return os.Mkdir(path, 0o700) },
		"a folder with a file": func(_ *testing.T, path, _ string) error {
			return os.MkdirAll(filepath.Join(path, "x"), 0o700)
		},
		"a file of a package's": func(_ *testing.T, path, _ string) error {
			return os.WriteFile(path, []byte("x"), 0o400)
		},
		"a record": func(*testing.T, string, string) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			s := envdir.Store{Dir: t.TempDir()}
			dir, precious := s.Env("uv-00000000"), filepath.Join(s.Dir, "precious")
			testkit.Check(t, errors.Join(s.Usable(s.Records()), os.Mkdir(dir, 0o700),
				os.WriteFile(precious, []byte("precious"), 0o600)))
			for i, write := range []func() error{
				func() error { return s.CreateLease(dir) },
				func() error { return s.WriteLease(dir, envdir.LeaseRecord{State: envdir.LeaseReleased}) },
			} {
				lease := filepath.Join(dir, envdir.LeaseName)
				if i == 1 && (strings.HasPrefix(what, "a file") || strings.HasPrefix(what, "a folder")) {
					continue // a record with another mode is one all the same, and a folder is for somebody to look at
				}
				if what != "a record" {
					testkit.Check(t, errors.Join(os.RemoveAll(lease), put(t, lease, precious)))
				}
				if err := write(); err != nil {
					t.Error(err)
				}
				if data, err := os.ReadFile(precious); string(data) != "precious" {
					t.Errorf("the other file has %.40q, %v", data, err)
				}
				r, err := readLease(dir)
				if err != nil || r.State != []string{envdir.LeaseFree, envdir.LeaseReleased}[i] {
					t.Errorf("the record says %q, %v", r.State, err)
				}
			}
		})
	}
}

func TestNothingIsWrittenThroughALinkInPlaceOfAnEnvironment(t *testing.T) {
	for what, put := range map[string]func(s envdir.Store, outside string) error{
		"the environment": func(s envdir.Store, outside string) error {
			err := os.Remove(s.Env("uv-00000000"))
			testkit.Link(t, filepath.Join(outside, "uv-00000000"), s.Env("uv-00000000"))
			return err
		},
		"the folder of all": func(s envdir.Store, outside string) error {
			err := os.Rename(s.Envs(), s.Envs()+"-moved")
			testkit.Link(t, outside, s.Envs())
			return err
		},
	} {
		s, outside := envdir.Store{Dir: t.TempDir()}, t.TempDir()
		dir := s.Env("uv-00000000")
		precious := map[string]string{envdir.LeaseName: "my lease", envdir.ManifestName: "my manifest"}
		testkit.Check(t, errors.Join(s.Usable(s.Records()), os.Mkdir(dir, 0o700),
			os.Mkdir(filepath.Join(outside, "uv-00000000"), 0o700)))
		for name, text := range precious {
			testkit.Check(t, os.WriteFile(filepath.Join(outside, "uv-00000000", name), []byte(text), 0o600))
		}
		testkit.Check(t, put(s, outside))
		_, manifest := s.WriteManifest(dir, envdir.Manifest{})
		for call, err := range map[string]error{
			"createLease": s.CreateLease(dir), "writeLease": s.WriteLease(dir,
				envdir.LeaseRecord{State: envdir.LeaseReleased}), "writeManifest": manifest,
		} {
			if !errors.Is(err, envdir.ErrNoFolder) {
				t.Errorf("a link in place of %s: %s says %v", what, call, err)
			}
		}
		for name, text := range precious {
			if data, err := os.ReadFile(filepath.Join(outside, "uv-00000000", name)); string(data) != text {
				t.Errorf("a link in place of %s: the other %s has %.40q, %v", what, name, data, err)
			}
		}
	}
}

func TestARecordThatIsNoLeaseIsAnError(t *testing.T) {
	held, err := envdir.EncodeLease(envdir.LeaseRecord{State: envdir.LeaseHeld,
		Lease: &envdir.Lease{Owner: ownerNo(1)}})
	testkit.Check(t, err)
	for name, data := range map[string][]byte{
		"empty":              nil,
		"zeros":              make([]byte, envdir.LeaseSize),
		"torn":               held[:40],
		"torn, zeros behind": append(bytes.Clone(held[:40]), make([]byte, envdir.LeaseSize-40)...),
		"noise":              []byte("\x7fELF"),
		"something behind":   append(bytes.TrimRight(bytes.Clone(held), "\x00"), `{"state":"free"}`...),
		"no state":           []byte("{}"),
		"an unknown state":   []byte(`{"state":"lent"}`),
		"no owner":           []byte(`{"state":"leased"}`),
		"the owner 0":        []byte(`{"state":"leased","owner":{"pid":0}}`),
		"too long":           []byte(`{"state":"free","label":"` + strings.Repeat("x", envdir.LeaseSize) + `"}`),
		"no object":          []byte(`[]`),
	} {
		dir := t.TempDir()
		testkit.Check(t, os.WriteFile(filepath.Join(dir, envdir.LeaseName), data, 0o600))
		if got, err := readLease(dir); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	if _, err := readLease(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAnOwnerThatEndsGivesItsEnvironmentBackAtOnce(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.get(1)
		w.pass(time.Minute)
		w.p.End(1)
		w.want(1, 0, 0, 0)
		if lines := w.said("the owner of an environment has ended"); len(lines) != 1 {
			t.Errorf("the log says %s", lines)
		}
	})
}

func TestAnEndThatNobodyTellsIsSeenWithinTenSeconds(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.get(1)
		w.pass(time.Minute)
		w.p.mu.Lock()
		w.p.dead[1] = true
		w.p.mu.Unlock()
		w.pass(10 * time.Second)
		w.want(1, 0, 0, 0)
	})
}

func TestAnEnvironmentStaysWhileAProcessRunsFromIt(t *testing.T) {
	for name, end := range map[string]func(*world, string){
		"the owner ended":  func(w *world, _ string) { w.p.End(1) },
		"it was released":  func(w *world, id string) { w.release(id) },
		"and over a crash": func(w *world, _ string) { w.crash(); w.p.End(1); w.start() },
		"and over a crash after the release": func(w *world, id string) {
			w.release(id)
			w.crash()
			w.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				got := w.get(1)
				w.p.use(got.Env.ID, true)
				end(w, got.Env.ID)
				w.pass(time.Hour)
				if s := w.status(); s.Available != 1 || s.Leased+s.Removing != 1 {
					t.Errorf("the status is %+v", s)
				}
				if c, err := w.GC(context.Background(), false); err != nil || len(c.Removed) != 0 || c.Kept != 2 {
					t.Errorf("gc: %+v, %v", c, err)
				}
				if _, err := os.Stat(got.Env.Python); err != nil {
					t.Error(err)
				}
				w.p.use(got.Env.ID, false)
				w.pass(10 * time.Second)
				w.want(1, 0, 0, 0)
			})
		})
	}
}

func TestALeaseCanBeAdopted(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.get(1).Env.ID
		info, err := w.Adopt(context.Background(), id, 2)
		if err != nil || info.Lease.Owner.PID != 2 || info.ID != id {
			t.Errorf("%+v, %v", info, err)
		}
		w.p.End(1)
		w.pass(time.Minute)
		w.want(1, 0, 1, 0)
		w.crash()
		w.start()
		w.want(1, 0, 1, 0)
		w.p.End(2)
		w.pass(10 * time.Second)
		w.want(1, 0, 0, 0)

		id = w.get(3).Env.ID
		var owner *proc.OwnerError
		if _, err := w.Adopt(context.Background(), id, 1); !errors.As(err, &owner) || owner.PID != 1 {
			t.Error(err)
		}
		w.pass(time.Minute)
		for _, id := range append(w.ids(Ready), "uv-00000000", "") {
			if _, err := w.Adopt(context.Background(), id, 3); !errors.Is(err, ErrUnknownEnv) {
				t.Errorf("%q: %v", id, err)
			}
			if err := w.Release(context.Background(), id); !errors.Is(err, ErrUnknownEnv) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

func TestALeaseIsReleasedOnce(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.get(1).Env.ID
		w.release(id)
		if err := w.Release(context.Background(), id); !errors.Is(err, ErrUnknownEnv) {
			t.Error(err)
		}
	})
}

func TestALeasedEnvironmentThatSomebodyDeletedCanBeReleased(t *testing.T) {
	for name, path := range map[string]string{"all of it": "", "its lease record": envdir.LeaseName} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				got := w.get(1)
				testkit.Check(t, os.RemoveAll(filepath.Join(got.Env.Path, path)))
				w.pass(time.Minute)
				w.want(1, 0, 1, 0)
				w.release(got.Env.ID)
				w.want(1, 0, 0, 0)
			})
		})
	}
}

func TestALeaseThatCannotBeEndedIsSaidOnce(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		got := w.get(1)
		record := filepath.Join(got.Env.Path, envdir.LeaseName)
		testkit.Check(t, errors.Join(os.Remove(record), os.Mkdir(record, 0o700)))
		w.p.End(1)
		w.pass(time.Hour)
		w.want(1, 0, 1, 0)
		if lines := w.said("its lease cannot be"); len(lines) != 1 {
			t.Errorf("the log says %s", lines)
		}
		if err := w.Release(context.Background(), got.Env.ID); err == nil {
			t.Error("a release that is not on disk was answered")
		}
		testkit.Check(t, os.Remove(record))
		w.pass(10 * time.Second)
		w.want(1, 0, 0, 0)
	})
}

// readLease is the lease record in dir, wherever that is.
func readLease(dir string) (envdir.LeaseRecord, error) { return envdir.Store{Dir: dir}.ReadLease(dir) }

// readWithoutFolder is the lease record in dir, but for what tells that folder from its copies.
func readWithoutFolder(dir string) (envdir.LeaseRecord, error) {
	r, err := readLease(dir)
	if r.Lease != nil {
		r.Folder = nil
	}
	return r, err
}
