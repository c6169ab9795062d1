package builder

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoWaitsForTheSameLookFailsWithIt(t *testing.T) {
	for name, c := range map[string]struct {
		ends  time.Duration // of the first caller's patience
		looks int
	}{"it failed": {time.Hour, 1}, "it was given up": {time.Second, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Lookup[string, string]
				untrusted, looks := errors.New("untrusted"), 0
				find := func(ctx context.Context) error {
					_, err := l.Find(ctx, func(string) bool { return true }, func(string) (string, Tool, error) {
						looks++
						select {
						case <-time.After(time.Minute):
							return "", Tool{}, untrusted
						case <-ctx.Done():
							return "", Tool{}, ctx.Err()
						}
					})
					return err
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.ends)
				defer cancel()
				go func() { _ = find(ctx) }()
				synctest.Wait()
				if err := find(t.Context()); !errors.Is(err, untrusted) || looks != c.looks {
					t.Errorf("%v after %d looks", err, looks)
				}
				if err := find(t.Context()); !errors.Is(err, untrusted) || looks != c.looks+1 {
					t.Errorf("who asks later: %v after %d looks", err, looks)
				}
			})
		})
	}
}
