package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

type rpcCmd struct {
	Method string `arg:"" complete:"methods" help:"The method, like pool.status."`
	Params string `arg:"" optional:"" default:"" help:"Its params as JSON; - reads them from stdin."`
}

func (rpcCmd) Help() string {
	return "The result is printed as it came. An environment that is acquired this way is leased to runt itself, " +
		"and so ends with it, unless owner_pid names another process."
}

func (c *rpcCmd) Run(a *app) error {
	text := []byte(c.Params)
	if c.Params == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(a.stdin, rpc.MaxMessage)); err != nil {
			return failure.New("reading the params: %v", err)
		}
	}
	var params any
	if len(text) > 0 {
		params = json.RawMessage(text)
		if !json.Valid(text) {
			return failure.With(failure.Usage, "the params are not valid JSON").WithHint("see: runt rpc --help")
		}
	}
	client, _, err := a.Connect(nil)
	if err != nil {
		return err
	}
	defer client.Close()
	raw, err := a.Call(client, c.Method, params, c.wait(text))
	if err != nil {
		return err
	}
	a.printJSON(raw)
	return nil
}

func (c *rpcCmd) wait(params []byte) time.Duration {
	if c.Method != rpc.MethodAcquire {
		return 0
	}
	var p rpc.AcquireParams
	if json.Unmarshal(params, &p) != nil || p.WaitMS == nil {
		return rpc.DefaultWait
	}
	return min(max(0, time.Duration(*p.WaitMS)*time.Millisecond), rpc.MaxWait)
}

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	commit, changed := rpc.Commit()
	return a.show(struct {
		Version  string `json:"version"`
		Protocol int    `json:"protocol"`
		Commit   string `json:"commit,omitempty"`
		Changed  bool   `json:"changed,omitempty"` // the files were not those of the commit
		Go       string `json:"go"`
	}{rpc.Version(), rpc.Protocol, commit, changed, runtime.Version()},
		func() { fmt.Fprintln(a.stdout, rpc.VersionLine("runt")) })
}
