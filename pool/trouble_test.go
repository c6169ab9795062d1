//go:build unix

package pool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestALeaseThatCannotBeReadIsHeldBySomebodyUnknown(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"torn":         func(path string) error { return os.Truncate(path, 5) },
		"emptied":      func(path string) error { return os.Truncate(path, 0) },
		"a named pipe": func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a link":       func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path+"x", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				id := w.settled().ids(Ready)[0]
				w.crash()
				testkit.Check(t, damage(filepath.Join(w.store.Env(id), envdir.LeaseName)))
				w.start()
				w.pass(time.Hour)
				w.want(1, 0, 1, 0)
				list, err := w.List(context.Background(), "", Leased)
				if err != nil || len(list) != 1 || list[0].ID != id || !list[0].Alive || list[0].Lease.Owner.PID != 0 {
					t.Errorf("%+v, %v", list, err)
				}
				if lines := w.said("counts as held"); len(lines) != 1 {
					t.Errorf("the log says %s", lines)
				}
				w.release(id)
				w.pass(time.Minute)
				if w.want(1, 0, 0, 0); slices.Contains(w.folders(), id) {
					t.Error("it is still there")
				}
			})
		})
	}
}

func TestADiskThatFailsWhileEnvironmentsAreLookedThroughDamagesNone(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "read", Err: syscall.EIO}, &fs.PathError{Op: "open", Err: syscall.ENFILE},
		builder.MachineError("python", "OSError: [Errno 5]", nil),
	} {
		inBubble(t, sized(2), func(w *world) {
			before := w.settled().ids(Ready)
			w.crash()
			for _, id := range before {
				w.change(id, func(m *envdir.Manifest) { m.BootID = "before" })
			}
			// nothing can be built there either
			w.b.set(func() { w.b.verify, w.b.fail = err, failing(builder.CauseOther) })
			w.start()
			w.pass(10 * time.Minute)
			if lines := w.said("cannot be checked at the moment"); len(lines) != 2 {
				t.Errorf("%v: the log says %s", err, lines)
			}
			w.b.set(func() { w.b.verify = nil })
			w.pass(2 * time.Minute)
			if w.want(2, 0, 0, 0); !slices.Equal(w.ids(Ready), before) {
				t.Errorf("%v: ready are %v, were %v", err, w.ids(Ready), before)
			}
		})
	}
}
