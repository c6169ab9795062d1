package daemon

import (
	"context"
	"encoding/json"
	"time"

	"runtimed/rpc"
)

const (
	followPause = 200 * time.Millisecond // a daemon that ends has its last words to write
	mostHasty   = 5
)

// follower says whether to ask the next daemon, where one ended before its answer, as in an upgrade. docs/protocol.md has the rule.
type follower struct {
	end   time.Time
	asked time.Time
	lost  string // the kind of the first error; empty before
	hasty int    // how many in a row have hung up at once
}

// follow begins with a call that may wait that long.
func follow(wait time.Duration) *follower {
	now := time.Now()
	return &follower{end: now.Add(wait + answerTime), asked: now}
}

// again is false where err is the end of it. Else it has paused.
func (f *follower) again(ctx context.Context, err error) bool {
	kind := rpc.KindOf(err)
	if kind != rpc.KindClosed || time.Since(f.asked) > time.Second {
		f.hasty = 0
	}
	switch {
	case kind == rpc.KindClosed && f.hasty < mostHasty:
		f.hasty++
	case kind == rpc.KindShuttingDown:
	case kind == rpc.KindUnreachable && f.lost != "":
	default:
		return false
	}
	if time.Until(f.end) < followPause {
		return false
	}
	if f.lost == "" || kind == rpc.KindClosed {
		f.lost = kind
	}
	select {
	case <-time.After(followPause):
	case <-ctx.Done():
		return false
	}
	f.asked = time.Now()
	return true
}

// isDone says whether err tells that a call which was lost on the way had been carried out.
func (f *follower) isDone(method string, err error) bool {
	return method == rpc.MethodRelease && f.lost == rpc.KindClosed && rpc.KindOf(err) == rpc.KindUnknownEnv
}

// Ask connects and calls. Where the daemon is replaced meanwhile, a call that may be repeated goes to the next one.
func (d *Control) Ask(method string, params any, wait time.Duration) (json.RawMessage, error) {
	for turn := follow(wait); ; {
		raw, err := d.askOnce(method, params, wait)
		switch {
		case turn.isDone(method, err):
			return json.RawMessage("{}"), nil
		case err == nil, !rpc.MethodOf(method).Repeatable, !turn.again(d.Ctx, err):
			return raw, err
		}
	}
}

func (d *Control) askOnce(method string, params any, wait time.Duration) (json.RawMessage, error) {
	c, _, err := d.Connect(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return d.Call(c, method, params, wait)
}
