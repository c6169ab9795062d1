package daemon

import (
	"context"
	"encoding/json"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

// answerTime is how long the daemon may take for an answer that waits for nothing.
const answerTime = 3 * time.Second

type notifyFunc = func(method string, params json.RawMessage)

// Connect is for commands that ask: a daemon of our protocol answers, or it is an error.
func (d *Control) Connect(notify notifyFunc) (*rpc.Client, rpc.Info, error) {
	c, info, err := d.Meet(d.Ctx, notify)
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

func OtherVersion(info rpc.Info) error {
	older, update := "runtimed", "swap it for the daemon of this runt: runt daemon restart"
	if info.Protocol > rpc.Protocol {
		older, update = "runt", "update runt to the version of the daemon: "+info.Version
	}
	return failure.With(failure.OtherVersion, "the daemon (version %s) speaks protocol %d and this runt (version %s) protocol %d: %s is too old",
		info.Version, info.Protocol, rpc.Version(), rpc.Protocol, older).WithHint("%s", update)
}

// Meet finds out who listens, and nothing else is said before that is known.
func (d *Control) Meet(ctx context.Context, notify notifyFunc) (*rpc.Client, rpc.Info, error) {
	path, err := d.socket()
	if err != nil {
		return nil, rpc.Info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for tries := 1; ; tries++ {
		c, info, err := greet(ctx, path, notify)
		switch kind := rpc.KindOf(err); {
		case kind == rpc.KindClosed && tries < 5: // a daemon that is just ending does so; a moment later it is gone
		case kind == rpc.KindClosed, kind == rpc.KindTimeout && tries > 1:
			return nil, info, d.hangUpError(path)
		default:
			return c, info, TimedOut(err, path, answerTime)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// hangUpError is for connections that are closed without an answer. So does a service manager whose daemon ends at once.
func (d *Control) hangUpError(path string) error {
	m := d.Managed()
	if m == nil {
		return failure.New("who listens on %s closes the connection without an answer", path)
	}
	f := failure.With(failure.Unreachable, "the service's daemon ends as soon as it is started")
	f.Quote(rpc.Name, d.lastWords(m, time.Now().Add(-answerTime)))
	return f.OrHint("see why with: runt daemon logs")
}

func greet(ctx context.Context, path string, notify notifyFunc) (*rpc.Client, rpc.Info, error) {
	var info rpc.Info
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{OnNotify: notify})
	if err != nil {
		return nil, info, err
	}
	err = c.Call(ctx, rpc.MethodInfo, rpc.InfoParams{Client: &rpc.ClientInfo{Name: "runt", Version: rpc.Version()}}, &info)
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

// TimedOut says after how long we gave up.
func TimedOut(err error, path string, after time.Duration) error {
	if rpc.KindOf(err) != rpc.KindTimeout {
		return err
	}
	return failure.With(failure.Unreachable, "the daemon at %s did not answer within %s", path, after).
		WithHint("see what it does with: runt daemon logs")
}

// Call asks for one answer; wait is what the daemon may wait by itself.
func (d *Control) Call(c *rpc.Client, method string, params any, wait time.Duration) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(d.Ctx, wait+answerTime)
	defer cancel()
	raw, err := c.CallRaw(ctx, method, params)
	if err != nil {
		path, _ := d.socket()
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
