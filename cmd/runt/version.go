package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"runtimed/rpc"
)

func versionLine() string {
	return fmt.Sprintf("runt %s (protocol %d, %s, %s/%s)", rpc.Version(), rpc.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	if !a.json {
		fmt.Fprintln(a.stdout, versionLine())
		return nil
	}
	return json.NewEncoder(a.stdout).Encode(struct {
		Version  string `json:"version"`
		Protocol int    `json:"protocol"`
		Go       string `json:"go"`
	}{rpc.Version(), rpc.Protocol, runtime.Version()})
}
