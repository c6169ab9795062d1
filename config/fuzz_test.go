package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"runtimed/internal/testkit"

	"github.com/pelletier/go-toml/v2"
)

// What is accepted keeps to its bounds, and survives being written down and read again.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "log_level = \"debug\"", "[pools.uv]\nsize = 64\npackages = [\"a\"]", "pools = {x = {kind = \"uv\"}}",
		"[[pools]]", "build.min_free = \"1GiB\"\nbuild.timeout = \"1h1ms\"", "\"a.b\".c = [[1], {d = 2}]",
		"[pools.conda]\nchannels = []", "x = 1979-05-27", "[pools.uv]\nstandby = 2\npreload = [\"a.b\"]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, faults := read(data)
		if len(faults) > 0 {
			for _, fault := range faults {
				if fault.Where == "" || fault.Text == "" || strings.Contains(fault.String(), "\n") {
					t.Errorf("a fault that says too little or too much: %q", fault)
				}
			}
			return
		}
		for _, p := range c.Pools {
			if p.Size < 0 || p.Size > MaxPoolSize || !poolName().MatchString(p.Name) ||
				!names(p.Packages, "ipykernel") ||
				checkPackages(p.Packages, p.Kind) != "" || p.Standby < 0 || p.Standby > MaxPoolSize ||
				p.Preload == nil || len(p.Preload) > maxPreload {
				t.Errorf("accepted %+v", p)
			}
		}
		again, faults := read(written(t, c))
		if len(faults) > 0 {
			t.Fatalf("its own words are refused: %v\n%s", faults, written(t, c))
		}
		c.Origins, again.Origins = nil, nil
		if !reflect.DeepEqual(c, again) {
			t.Errorf("got %+v\nwant %+v", again, c)
		}
	})
}

func read(data []byte) (*Config, Faults) {
	c := defaults()
	faults := c.parse("f", data)
	return c, append(faults, c.finish()...)
}

func written(t *testing.T, c *Config) []byte {
	var b strings.Builder
	for _, s := range c.Settings() {
		value, err := toml.Marshal(map[string]any{"v": s.Value})
		testkit.Check(t, err)
		fmt.Fprintf(&b, "%s =%s", s.Key, strings.TrimPrefix(string(value), "v ="))
	}
	return []byte(b.String())
}
