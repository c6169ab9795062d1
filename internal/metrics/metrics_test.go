package metrics

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/rpc"
)

func TestEachSampleHasItsNameLabelsAndKind(t *testing.T) {
	pools := []rpc.PoolStatus{
		{Name: "uv", Kind: "uv", Target: 3, Available: 2, Warming: 1, Leased: 4, Waiting: 5,
			Standby: rpc.StandbyStatus{Ready: 1},
			Counters: rpc.PoolCounters{Hits: 12_345_678, Misses: 2, WaitedMS: 1504, Builds: 9,
				Failures: map[string]int{"network": 3, "a \"b\\\n": 1}}},
		{Name: "data", Kind: "conda", Error: &rpc.PoolError{}},
	}
	info := rpc.Info{Version: "1.2.3", StartedAt: time.UnixMilli(1_700_000_000_250)}
	got, kinds := parseMetrics(t, Text(info, pools, "1000"))
	uv, data := `{uid="1000",pool="uv",kind="uv"`, `{uid="1000",pool="data",kind="conda"`
	want := map[string]float64{
		`runtimed_info{uid="1000",version="1.2.3"}`: 1, `runtimed_start_time_seconds{uid="1000"}`: 1_700_000_000.25,
		"runtimed_build_failures_total" + uv + `,cause="network"}`:   3,
		"runtimed_build_failures_total" + uv + `,cause="a \"b\\\n"}`: 1,
	}
	for name, values := range map[string][2]float64{
		"pool_target": {3, 0}, "pool_available": {2, 0}, "pool_warming": {1, 0}, "pool_leased": {4, 0},
		"pool_waiting": {5, 0}, "pool_standby": {1, 0}, "pool_failing": {0, 1}, "hits_total": {12_345_678, 0},
		"misses_total": {2, 0}, "wait_seconds_total": {1.504, 0}, "builds_total": {9, 0},
	} {
		want["runtimed_"+name+uv+"}"], want["runtimed_"+name+data+"}"] = values[0], values[1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("it should have (-) and has (+):\n%s", diff)
	}
	for name, kind := range kinds {
		if (kind == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
}

// parseMetrics reads the text format of Prometheus as node_exporter's textfile collector does: each metric has its HELP
// and TYPE once, its samples follow them, and no sample comes twice.
func parseMetrics(t *testing.T, text string) (samples map[string]float64, kinds map[string]string) {
	t.Helper()
	const name = `[a-zA-Z_:][a-zA-Z0-9_:]*`
	help := regexp.MustCompile(`^# HELP (` + name + `) \S.*$`)
	kind := regexp.MustCompile(`^# TYPE (` + name + `) (counter|gauge)$`)
	label := `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"`
	sample := regexp.MustCompile(`^((` + name + `)\{` + label + `(?:,` + label + `)*\}) (\S+)$`)
	samples, kinds = map[string]float64{}, map[string]string{}
	at := ""
	helped := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		fault := ""
		h, k, s := help.FindStringSubmatch(line), kind.FindStringSubmatch(line), sample.FindStringSubmatch(line)
		switch {
		case h != nil && !helped[h[1]]:
			at, helped[h[1]] = h[1], true
		case k != nil && k[1] == at && kinds[at] == "":
			kinds[at] = k[2]
		case s != nil && s[2] == at && kinds[at] != "":
			value, err := strconv.ParseFloat(s[3], 64)
			if _, twice := samples[s[1]]; twice || err != nil {
				fault = fmt.Sprint("twice, or no number: ", err)
			}
			samples[s[1]] = value
		default:
			fault = "out of place"
		}
		if fault != "" {
			t.Errorf("%q: %s", line, fault)
		}
	}
	if !strings.HasSuffix(text, "\n") || len(kinds) != len(helped) {
		t.Errorf("%d HELP, %d TYPE, and it ends with %q", len(helped), len(kinds), text[max(0, len(text)-20):])
	}
	return samples, kinds
}
