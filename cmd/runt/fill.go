package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/rpc"
)

type poolFillCmd struct {
	Names   []string      `arg:"" optional:"" name:"name" complete:"pools" help:"These only (default: all)."`
	Wait    bool          `help:"Return once they are full."`
	Timeout time.Duration `placeholder:"10m" help:"Wait no longer than this (default: as long as it takes)."`
}

func (poolFillCmd) Help() string {
	return "It starts the daemon, which fills the pools by itself, and has those that fail try again at once. With " +
		"--wait the exit code is 6 if builds fail, and 4 after --timeout. A conda pool that nobody has configured " +
		"and that does not work here is reported, and is no failure."
}

func (c *poolFillCmd) Validate() error {
	switch {
	case c.Timeout < 0:
		return fmt.Errorf("--timeout must not be negative, got %s", c.Timeout)
	case c.Timeout > 0 && !c.Wait:
		return errors.New("--timeout is for --wait")
	}
	return nil
}

func (c *poolFillCmd) Run(a *app) error {
	shown := a.progress()
	defer shown.end()
	changes, gone := make(chan rpc.PoolChanged, 64), make(chan struct{})
	defer close(gone)
	notify := func(method string, params json.RawMessage) {
		var change rpc.PoolChanged
		if method != rpc.NotifyPoolChanged || json.Unmarshal(params, &change) != nil {
			return
		}
		select {
		case changes <- change:
		case <-gone:
		}
	}
	client, err := a.ConnectOrStart(daemon.Progress{Say: shown.say, Notify: notify})
	if err != nil {
		return err
	}
	defer client.Close()
	f := &filling{app: a, client: client, names: c.Names, shown: shown}
	if err := f.begin(); err != nil {
		return err
	}
	if c.Wait {
		ctx := a.Ctx
		if c.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.Timeout)
			defer cancel()
		}
		if err := f.wait(ctx, changes); err != nil {
			if a.Ctx.Err() == nil && ctx.Err() != nil {
				return failure.With(failure.NoEnvironment, "not full after %s: %s", c.Timeout, f).
					WithHint("the daemon goes on; see how far it is with: runt pool status")
			}
			return err
		}
	}
	shown.end()
	raw, err := a.Call(client, rpc.MethodStatus, rpc.PoolParams{}, 0)
	if err != nil {
		return err
	}
	return answer(a, raw, func(r rpc.StatusResult) {
		f.pools = r.Pools
		for _, p := range f.wanted() {
			a.printf("%s\n", readyText(p))
		}
	})
}

// filling follows how the pools that were asked for are filled.
type filling struct {
	*app
	client *rpc.Client
	names  []string // empty: all
	shown  *progress

	pools  []rpc.PoolStatus         // as last heard
	before map[string]rpc.PoolError // why pools failed before this was asked
	told   string
}

// begin has the pools that fail tried again.
func (f *filling) begin() error {
	raw, err := f.Call(f.client, rpc.MethodWatch, rpc.None{}, 0)
	if err != nil {
		return err
	}
	var now rpc.StatusResult
	if err := daemon.Decode(raw, &now); err != nil {
		return err
	}
	f.pools, f.before = now.Pools, map[string]rpc.PoolError{}
	for _, name := range f.names {
		switch i := slices.IndexFunc(f.pools, func(p rpc.PoolStatus) bool { return p.Name == name }); {
		case i < 0: // the daemon has the words for it
			_, err := f.Call(f.client, rpc.MethodStatus, rpc.PoolParams{Pool: &name}, 0)
			return err
		case f.pools[i].Target == 0:
			return failure.New("the pool %s is off (size 0)", name).WithHint("set its size in the configuration")
		}
	}
	for _, p := range f.wanted() {
		if p.Error != nil {
			f.before[p.Name] = *p.Error
		}
	}
	if len(f.before) == 0 {
		return nil
	}
	_, err = f.Call(f.client, rpc.MethodReload, rpc.None{}, 0) // which ends their pauses
	return err
}

// wanted returns the pools that are on and were asked for.
func (f *filling) wanted() (list []rpc.PoolStatus) {
	for _, p := range f.pools {
		if p.Target > 0 && (len(f.names) == 0 || slices.Contains(f.names, p.Name)) {
			list = append(list, p)
		}
	}
	return list
}

func readyText(p rpc.PoolStatus) string {
	return fmt.Sprintf("%s: %d of %d ready", p.Name, p.Available, p.Target)
}

func (f *filling) String() string {
	var texts []string
	for _, p := range f.wanted() {
		texts = append(texts, readyText(p))
	}
	return strings.Join(texts, ", ")
}

// wait returns once each pool is full or has failed anew.
func (f *filling) wait(ctx context.Context, changes <-chan rpc.PoolChanged) error {
	for {
		if text := f.String(); text != f.told {
			if f.told = text; f.shown != nil {
				f.shown.say(text)
			} else {
				f.Note("%s", text)
			}
		}
		if failed, settled := f.failed(); settled {
			return f.failure(failed)
		}
		select {
		case change := <-changes:
			f.pools = changed(f.pools, change)
		case <-f.client.Done():
			return failure.With(failure.Unreachable, "the daemon has stopped").WithHint("%s", f.HowToStart())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed returns the pools whose build failed since begin; settled means that all others are full.
func (f *filling) failed() (failed []rpc.PoolStatus, settled bool) {
	for _, p := range f.wanted() {
		switch was := f.before[p.Name]; {
		case p.State == rpc.PoolReady:
		case p.Error == nil, p.Warming > 0, p.Error.Since.Equal(was.Since) && p.Error.Failures <= was.Failures:
			return nil, false
		default:
			failed = append(failed, p)
		}
	}
	return failed, true
}

// failure returns the error of the pools that failed. One that nobody asked for is only reported, as in runt doctor.
func (f *filling) failure(pools []rpc.PoolStatus) error {
	if len(pools) == 0 {
		return nil
	}
	f.shown.end()
	var info rpc.Info
	raw, err := f.Call(f.client, rpc.MethodInfo, nil, 0)
	if err == nil {
		err = daemon.Decode(raw, &info)
	}
	if err != nil {
		return err
	}
	cfg, err := config.LoadToStart(config.FlagsFor(info.ConfigPath, f.Env), f.Env)
	var failed *failure.Error
	for _, p := range pools {
		text := fmt.Sprintf("the pool %s cannot be filled: %s", p.Name, p.Error.Message)
		switch {
		case err == nil && len(f.names) == 0 && cfg.Optional(p.Name):
			f.Note("note: %s", text)
			f.Hint("%s", rpc.UnneededConda(p.Error.Hint))
		case failed == nil:
			failed = &failure.Error{
				Code: failure.BuildFailed, Message: text, Output: p.Error.Output, Hint: p.Error.Hint,
			}
		default:
			failed.Message += "\n" + text
		}
	}
	if failed == nil {
		return nil
	}
	return failed
}
