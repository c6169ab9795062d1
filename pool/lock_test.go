package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
)

func TestTheLockFileOfAPoolIsThatOfItsEnvironments(t *testing.T) {
	cfg := sized(1)
	cfg.Pools = append(cfg.Pools, PoolConfig{Name: "off", Spec: spec("ipykernel")})
	inBubbleWith(t, cfg, &fakeBuilder{takes: 5 * time.Second, lock: "six==1\n"}, func(w *world) {
		ask := func(name string, wait time.Duration) (Lock, error) { return w.Lock(context.Background(), name, wait) }
		_, err := ask("uv", 0)
		if !errors.As(err, new(*EmptyError)) || !strings.Contains(err.Error(), "no lock file yet") {
			t.Errorf("before the first build: %v", err)
		}
		if _, err := ask("off", time.Hour); !errors.As(err, new(*OffError)) {
			t.Errorf("of a pool that is off: %v", err)
		}
		if _, err := ask("none", time.Hour); !errors.As(err, new(*UnknownPoolError)) {
			t.Errorf("of no pool: %v", err)
		}
		if s := w.status(); s.Lock != "" {
			t.Errorf("the status has %q before the first build", s.Lock)
		}
		first, err := ask("uv", time.Minute)
		if err != nil || first.Text != "six==1\n" || first.Hash != w.status().Lock || first.Pool != "uv" {
			t.Errorf("%+v, %v", first, err)
		}
		got := w.get(1)
		if s := w.status(); s.Lock != first.Hash {
			t.Errorf("while its environment is leased: %q", s.Lock)
		}
		w.b.lock = "six==2\n"
		w.release(got.Env.ID)
		w.settled()
		if s := w.status(); s.Lock != first.Hash {
			t.Errorf("while there is none: %q", s.Lock)
		}
		second, err := ask("uv", time.Minute)
		if err != nil || second.Text != "six==2\n" || second.Hash == first.Hash || w.status().Lock != second.Hash {
			t.Errorf("%+v, %v", second, err)
		}
		got = w.get(1) // whoever had it may have written to it
		if err := os.WriteFile(filepath.Join(got.Env.Path, builder.LockName), []byte("evil==1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.b.fail = func(int) error { return builder.Errorf(builder.CauseNetwork, "wait", "no network") }
		l, err := ask("uv", time.Minute)
		if !errors.As(err, new(*FailedError)) || !strings.Contains(err.Error(), "as it was") {
			t.Errorf("a changed one: %+v, %v", l, err)
		}
		w.release(got.Env.ID)
		if _, err := ask("uv", time.Hour); !errors.As(err, new(*FailedError)) {
			t.Errorf("while builds fail: %v", err)
		}
	})
}

func TestAPinnedPoolIsKnownByItsLockBeforeItIsBuilt(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].Spec.Lock = "sha256:0f"
	inBubbleWith(t, cfg, &fakeBuilder{takes: time.Hour}, func(w *world) {
		if s := w.status(); s.Lock != "sha256:0f" {
			t.Errorf("%q", s.Lock)
		}
		cfg.Pools[0].Spec.Lock = "sha256:10"
		if changed, err := w.Reconfigure(context.Background(), cfg); err != nil || len(changed) != 1 {
			t.Errorf("another lock: %v, %v", changed, err)
		}
	})
}
