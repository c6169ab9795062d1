// Package metrics renders the pools of a daemon for Prometheus.
package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"runtimed/rpc"
)

// perPool are the gauges and counters of each pool. A counter's name ends in _total.
var perPool = []struct {
	name, help string
	value      func(p rpc.PoolStatus) float64
}{
	{"pool_target", "Environments that the pool is to keep ready.",
		func(p rpc.PoolStatus) float64 { return float64(p.Target) }},
	{"pool_available", "Environments that an acquire could get now.",
		func(p rpc.PoolStatus) float64 { return float64(p.Available) }},
	{"pool_warming", "Environments that are being built or checked.",
		func(p rpc.PoolStatus) float64 { return float64(p.Warming) }},
	{"pool_leased", "Environments that somebody has.",
		func(p rpc.PoolStatus) float64 { return float64(p.Leased) }},
	{"pool_waiting", "Acquires that wait for an environment.",
		func(p rpc.PoolStatus) float64 { return float64(p.Waiting) }},
	{"pool_standby", "Standby kernels that are ready.",
		func(p rpc.PoolStatus) float64 { return float64(p.Standby.Ready) }},
	{"pool_failing", "1 if the last build failed, and none has succeeded since; else 0.",
		func(p rpc.PoolStatus) float64 {
			if p.Error != nil {
				return 1
			}
			return 0
		}},
	{"hits_total", "Acquires that got what was ready.",
		func(p rpc.PoolStatus) float64 { return float64(p.Counters.Hits) }},
	{"misses_total", "Acquires that waited for a build, or got nothing.",
		func(p rpc.PoolStatus) float64 { return float64(p.Counters.Misses) }},
	{"wait_seconds_total", "What all acquires took, hits and misses.",
		func(p rpc.PoolStatus) float64 { return float64(p.Counters.WaitedMS) / 1000 }},
	{"builds_total", "Environments that were built or extended.",
		func(p rpc.PoolStatus) float64 { return float64(p.Counters.Builds) }},
}

// Text is the text exposition format of Prometheus, version 0.0.4. uid tells the daemons of several users apart.
func Text(info rpc.Info, pools []rpc.PoolStatus, uid string) string {
	var b strings.Builder
	begin := func(name, help string) {
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		fmt.Fprintf(&b, "# HELP runtimed_%s %s\n# TYPE runtimed_%s %s\n", name, help, name, kind)
	}
	sample := func(name string, value float64, labels ...string) {
		fmt.Fprintf(&b, "runtimed_%s{uid=%s", name, labelValue(uid))
		for i := 0; i < len(labels); i += 2 {
			fmt.Fprintf(&b, ",%s=%s", labels[i], labelValue(labels[i+1]))
		}
		fmt.Fprintf(&b, "} %s\n", strconv.FormatFloat(value, 'f', -1, 64))
	}
	begin("info", "The daemon; always 1.")
	sample("info", 1, "version", info.Version)
	begin("start_time_seconds", "When the daemon started, since the epoch.")
	sample("start_time_seconds", float64(info.StartedAt.UnixMilli())/1000)
	for _, m := range perPool {
		begin(m.name, m.help)
		for _, p := range pools {
			sample(m.name, m.value(p), "pool", p.Name, "kind", p.Kind)
		}
	}
	const failures = "build_failures_total"
	begin(failures, "Builds that failed, by cause.")
	for _, p := range pools {
		for _, cause := range slices.Sorted(maps.Keys(p.Counters.Failures)) {
			sample(failures, float64(p.Counters.Failures[cause]), "pool", p.Name, "kind", p.Kind, "cause", cause)
		}
	}
	return b.String()
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelValue is the value of a label, quoted.
func labelValue(text string) string {
	return `"` + escapes.Replace(strings.ToValidUTF8(text, "\uFFFD")) + `"`
}
