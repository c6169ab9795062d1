package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

const (
	answerTime  = 3 * time.Second // for an answer that waits for nothing
	followPause = 200 * time.Millisecond
	mostHangUps = 5
)

// NotifyFunc gets the daemon's notifications.
type NotifyFunc = func(method string, params json.RawMessage)

// Connect is for commands that ask: it is an error unless a daemon of our protocol answers.
func (d *Control) Connect(notify NotifyFunc) (*rpc.Client, rpc.Info, error) {
	c, info, err := d.connect(notify)
	return c, info, d.sayHow(err, "")
}

func (d *Control) connect(notify NotifyFunc) (*rpc.Client, rpc.Info, error) {
	c, info, err := d.Dial(d.Ctx, notify)
	if err != nil {
		return nil, info, err
	}
	if info.Protocol != rpc.Protocol {
		c.Close()
		return nil, info, OtherVersion(info)
	}
	if info.Replaced {
		d.Hint("the daemon's program was replaced; runt daemon restart brings the new one in")
	}
	return c, info, nil
}

// sayHow has an error whose reason is that no daemon runs say how one would start: by its service, and otherwise, which
// is empty for commands that start none.
func (d *Control) sayHow(err error, otherwise string) error {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Data.Hint != rpc.StartHint {
		return err
	}
	said := *e
	said.Data.Hint = d.HowToStart()
	if otherwise == "" && d.Env(noStartVariable) == "" {
		otherwise = "runt run and runt pool acquire start one by themselves"
	}
	if otherwise != "" {
		said.Data.Hint += "; " + otherwise
	}
	return &said
}

const hintTime = 2 * time.Second // for the manager to answer, which may hang

// HowToStart is the next step where no daemon runs.
func (d *Control) HowToStart() string {
	ctx, cancel := context.WithTimeout(d.Ctx, hintTime)
	defer cancel()
	if d.managed(ctx) != nil {
		return "start it with: runt service start"
	}
	return rpc.StartHint
}

const noStartVariable = "RUNTIMED_NO_START"

// OtherVersion is the error of a daemon with another protocol.
func OtherVersion(info rpc.Info) error {
	older, update := "runtimed", restartHint
	if info.Protocol > rpc.Protocol {
		older, update = "runt", "update runt to the version of the daemon: "+info.Version
	}
	return failure.With(failure.OtherVersion,
		"the daemon (version %s) speaks protocol %d and this runt (version %s) protocol %d: %s is too old",
		info.Version, info.Protocol, rpc.Version(), rpc.Protocol, older).WithHint("%s", update)
}

const restartHint = "replace it with the daemon of this runt: runt daemon restart"

// Info returns what the daemon says about itself, whatever its version.
func (d *Control) Info(ctx context.Context) (rpc.Info, error) {
	c, info, err := d.Dial(ctx, nil)
	if err == nil {
		c.Close()
	}
	return info, err
}

// Dial connects to whatever listens on the socket, and makes sure that it is a daemon, of any version.
func (d *Control) Dial(ctx context.Context, notify NotifyFunc) (*rpc.Client, rpc.Info, error) {
	path, err := d.Socket()
	if err != nil {
		return nil, rpc.Info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for tries := 1; ; tries++ {
		c, info, err := greet(ctx, path, notify)
		switch kind := rpc.KindOf(err); {
		case kind == rpc.KindClosed && tries < 5: // a daemon that is ending hangs up, and is gone a moment later
		case kind == rpc.KindClosed, kind == rpc.KindTimeout && tries > 1:
			return nil, info, d.hangUpError(path)
		default:
			return c, info, TimedOut(err, path, answerTime)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// hangUpError explains why connections are closed without an answer. A service manager does that if its daemon ends
// at once.
func (d *Control) hangUpError(path string) error {
	s := d.Managed()
	if s == nil {
		return failure.New("who listens on %s closes the connection without an answer", path)
	}
	s.began = s.began.Add(-answerTime)
	return s.quoteDaemon(failure.With(failure.Unreachable, "the service's daemon ends as soon as it is started"),
		"see why with: runt daemon logs")
}

func greet(ctx context.Context, path string, notify NotifyFunc) (*rpc.Client, rpc.Info, error) {
	var info rpc.Info
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{OnNotify: notify})
	if err != nil {
		return nil, info, err
	}
	us := rpc.InfoParams{Client: &rpc.ClientInfo{Name: "runt", Version: rpc.Version()}}
	err = c.Call(ctx, rpc.MethodInfo, us, &info)
	if err == nil && info.Name == rpc.Name {
		return c, info, nil
	}
	c.Close()
	switch kind := rpc.KindOf(err); {
	case err == nil, kind == rpc.KindMethodNotFound, kind == rpc.KindProtocol:
		err = failure.New("another program listens on %s: it does not speak runtimed's protocol", path).
			WithHint("stop it, or set RUNTIMED_SOCKET to another path for the daemon and for runt")
	}
	return nil, info, err
}

// TimedOut says after how long runt gave up. It returns err if that is not the error.
func TimedOut(err error, path string, after time.Duration) error {
	if rpc.KindOf(err) != rpc.KindTimeout {
		return err
	}
	return failure.With(failure.Unreachable, "the daemon at %s did not answer within %s", path, after).
		WithHint("see what it does with: runt daemon logs")
}

// Call makes one call. The daemon may take wait for it by itself.
func (d *Control) Call(c *rpc.Client, method string, params any, wait time.Duration) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(d.Ctx, wait+answerTime)
	defer cancel()
	raw, err := c.CallRaw(ctx, method, params)
	if err != nil {
		path, _ := d.Socket()
		return nil, TimedOut(err, path, wait+answerTime)
	}
	return raw, nil
}

// Decode reads an answer of the daemon.
func Decode(raw json.RawMessage, result any) error {
	if json.Unmarshal(raw, result) != nil {
		return failure.New("the daemon's answer has another shape than this runt expects")
	}
	return nil
}

// Ask connects and calls. If the daemon is replaced meanwhile, a call that may be repeated goes to the next one.
func (d *Control) Ask(method string, params any, wait time.Duration) (json.RawMessage, error) {
	for f := newFollower(wait); ; {
		raw, err := d.askOnce(method, params, wait)
		switch {
		case f.wasDone(method, err):
			return json.RawMessage("{}"), nil
		case err == nil, !rpc.MethodOf(method).Repeatable, !f.again(d.Ctx, err):
			return raw, d.sayHow(err, "")
		}
	}
}

func (d *Control) askOnce(method string, params any, wait time.Duration) (json.RawMessage, error) {
	c, _, err := d.connect(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return d.Call(c, method, params, wait)
}

// follower decides whether to ask the next daemon after one that ended before its answer, as in an upgrade.
// docs/protocol.md has the rule.
type follower struct {
	end     time.Time
	asked   time.Time
	lost    string // the kind of the first error; empty before
	hangUps int    // in a row, at once
}

func newFollower(wait time.Duration) *follower {
	now := time.Now()
	return &follower{end: now.Add(wait + answerTime), asked: now}
}

// again returns false if err is final. Else it has paused.
func (f *follower) again(ctx context.Context, err error) bool {
	kind := rpc.KindOf(err)
	if kind != rpc.KindClosed || time.Since(f.asked) > time.Second {
		f.hangUps = 0
	}
	switch {
	case kind == rpc.KindClosed && f.hangUps < mostHangUps:
		f.hangUps++
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

func (f *follower) wasDone(method string, err error) bool {
	return method == rpc.MethodRelease && f.lost == rpc.KindClosed && rpc.KindOf(err) == rpc.KindUnknownEnv
}
