package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"runtimed/rpc"
)

// buildVersion is set by the linker where a release is made.
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func versionLine() string {
	return fmt.Sprintf("runt %s (protocol %d, %s, %s/%s)", version(), rpc.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
	}{version(), rpc.Protocol, runtime.Version()})
}
