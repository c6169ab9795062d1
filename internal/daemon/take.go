package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

// Progress is told how a long wait goes on. Both are nil if nobody looks.
type Progress struct {
	Notify NotifyFunc
	Say    func(text string)
}

// Take connects, starting a daemon if it may, and acquires. The connection is the caller's to close. If the daemon is
// replaced meanwhile, the next one is asked: the key in params makes sure that only one environment is taken.
func (d *Control) Take(noStart bool, p Progress, params rpc.AcquireParams, wait time.Duration) (
	c *rpc.Client, raw json.RawMessage, err error,
) {
	began := time.Now()
	otherwise := ""
	switch {
	case noStart:
		otherwise = "or leave out --no-start"
	case d.Env(noStartVariable) != "":
		noStart, otherwise = true, "or unset "+noStartVariable
	}
	for f, left := newFollower(wait), wait; ; {
		c, raw, err = d.takeOnce(noStart, p, params, left)
		if err == nil || !f.again(d.Ctx, err) {
			return c, raw, d.sayHow(err, otherwise)
		}
		left = max(0, wait-time.Since(began))
		params.WaitMS = new(left.Milliseconds())
	}
}

func (d *Control) takeOnce(noStart bool, p Progress, params rpc.AcquireParams, wait time.Duration) (
	c *rpc.Client, raw json.RawMessage, err error,
) {
	if p.Notify != nil {
		params.Progress = new(true)
	}
	if c, err = d.connectOrStart(noStart, p); err != nil {
		return nil, nil, err
	}
	raw, err = d.Call(c, rpc.MethodAcquire, params, wait)
	if err != nil {
		c.Close()
		return nil, nil, orOlderDaemon(err)
	}
	return c, raw, nil
}

// TakeBack gives back what an interrupted Take may have got in its last moment: the lease would be the shell's, which
// never heard of it. Asking with the key would take a new environment if there is none, so it looks first.
func (d *Control) TakeBack(params rpc.AcquireParams, since time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, _, err := d.Dial(ctx, nil)
	if err != nil {
		return
	}
	defer c.Close()
	var list rpc.EnvListResult
	if c.Call(ctx, rpc.MethodEnvList, rpc.EnvListParams{Pool: params.Pool, State: new(rpc.EnvLeased)}, &list) != nil {
		return
	}
	for _, e := range list.Envs {
		if e.Lease == nil || e.Lease.OwnerPID != *params.OwnerPID || e.Lease.Since.Before(since) {
			continue
		}
		params.WaitMS, params.Progress = new(int64(0)), nil
		var got rpc.AcquireResult
		if c.Call(ctx, rpc.MethodAcquire, params, &got) == nil {
			_ = c.Call(ctx, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID}, nil)
		}
		return
	}
}

func orOlderDaemon(err error) error {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Data.Kind != rpc.KindInvalidParams || !strings.HasPrefix(e.Message, "unknown member ") {
		return err
	}
	return failure.With(failure.OtherVersion,
		"the daemon is older than this runt, and cannot yet do what is asked: %s", e.Message).
		WithHint(restartHint)
}

// Pools asks the daemon that runs; it starts none.
func (d *Control) Pools() (r rpc.StatusResult, err error) {
	raw, err := d.askOnce(rpc.MethodStatus, rpc.PoolParams{}, 0)
	if err == nil {
		err = Decode(raw, &r)
	}
	return r, err
}
