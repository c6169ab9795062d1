package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

func TestLayers(t *testing.T) {
	five, tooMany, socket := 5, 65, testkit.Rooted("/s")
	path := filepath.Join(t.TempDir(), "c.toml")
	os.WriteFile(path, []byte("log_level = \"debug\"\ncache_dir = "+rooted("/file")+"\n[pools.uv]\nsize = 4\n"), 0o600)
	vars := env("RUNTIMED_CONFIG="+path, "RUNTIMED_CACHE_DIR="+testkit.Rooted("/var"), "RUNTIMED_UV_POOL_SIZE=6",
		"RUNTIMED_MAX_AGE=1s", "RUNTIMED_SOCKET=rel")
	c, err := Load(Flags{UVPoolSize: &five, Socket: socket}, vars)
	testkit.Check(t, err)
	got := fmt.Sprintln(c.LogLevel, c.CacheDir, c.Pools[0].Size, c.Socket, c.Origins["log_level"] == path+":1",
		c.Origins["cache_dir"], c.Origins["pools.uv.size"])
	if want := "debug " + testkit.Rooted("/var") + " 5 " + socket +
		" true RUNTIMED_CACHE_DIR --uv-pool-size\n"; got != want {
		t.Errorf("got %q", got)
	}
	nowhere := home(testkit.Rooted("/nowhere"))
	x, y := testkit.Rooted("/nowhere/x.toml"), testkit.Rooted("/nowhere/y.toml")
	none := ": " + testkit.Refusal(t, x)
	unset := `HOME is not set, and the user database has no home for this user, so there is no place for the ` +
		`configuration: set it, or RUNTIMED_CONFIG, RUNTIMED_SOCKET and RUNTIMED_CACHE_DIR`
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "APPDATA"
		unset = `APPDATA: is needed to find the configuration, and must be an absolute path, got ""`
	}
	for want, tt := range map[string]struct {
		flags Flags
		env   func(string) string
	}{
		`RUNTIMED_UV_POOL_SIZE: must be 0 to 64, got "many"`: {Flags{},
			env(nowhere, "RUNTIMED_UV_POOL_SIZE=many")},
		`RUNTIMED_UV_POOL_SIZE: must be 0 to 64, got 500`: {Flags{},
			env(nowhere, "RUNTIMED_UV_POOL_SIZE=500")},
		`RUNTIMED_CONDA_POOL_SIZE: must be 0 to 64, got -1`: {Flags{},
			env(nowhere, "RUNTIMED_CONDA_POOL_SIZE=-1")},
		`--conda-pool-size: must be 0 to 64, got 65`: {
			Flags{CondaPoolSize: &tooMany}, env(nowhere)},
		`RUNTIMED_LOG_LEVEL: must be debug, info, warn or error, got "x"`: {Flags{},
			env(nowhere, "RUNTIMED_LOG_LEVEL=x")},
		`--log-level: must be debug, info, warn or error, got "1"`: {Flags{LogLevel: "1"},
			env(nowhere)},
		`--cache-dir: must be an absolute path, got "x"`: {Flags{CacheDir: "x"},
			env(nowhere)},
		`RUNTIMED_CONFIG: must be an absolute path, got "x.toml"`: {Flags{},
			env(nowhere, "RUNTIMED_CONFIG=x.toml")},
		x + none: {Flags{}, env(nowhere, "RUNTIMED_CONFIG="+x)},
		y + none: {Flags{Config: y}, noEnv},
		unset:    {Flags{}, noEnv},
		variable + `: is needed to find the configuration, and must be an absolute path, got "rel"`: {Flags{},
			env(home("rel"))},
	} {
		if _, err := Load(tt.flags, tt.env); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, size := range []int{0, 1} {
		if c, err := Load(Flags{UVPoolSize: &size}, env(nowhere)); err != nil || c.Pools[0].Size != size {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestFilePath(t *testing.T) {
	at, below, x := home(testkit.Rooted("/h")), "/h/.config/runt", "XDG_CONFIG_HOME="+testkit.Rooted("/x")
	there := "/x/runt/config.toml"
	if runtime.GOOS == "windows" { // which knows no XDG_CONFIG_HOME
		below, there = "/h/runt", "/h/./runt/config.toml"
	}
	for want, vars := range map[string]func(string) string{
		below + "/config.toml": env(at, "XDG_CONFIG_HOME=rel"),
		there:                  env(at, x),
		"/c.toml":              env("RUNTIMED_CONFIG="+testkit.Rooted("/c.toml"), x),
	} {
		if got, err := FilePath(Flags{}, vars); got != filepath.Clean(testkit.Rooted(want)) || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	os.Symlink(loop, loop) // where that is allowed
	large := filepath.Join(dir, "large")
	os.WriteFile(large, []byte(strings.Repeat("#\n", maxFile)), 0o600)
	below := func(path string) string { return filepath.Join(path, "x") }
	for path, want := range map[string]string{
		dir:            "is a folder, not a file",
		loop:           testkit.Refusal(t, loop),
		large:          "is larger than 256 KiB",
		below(loop):    testkit.Refusal(t, below(loop)),
		below(large):   testkit.Refusal(t, below(large)),
		os.DevNull:     "",
		secret(t, dir): "permission denied",
	} {
		if path == "" {
			continue
		}
		_, err := Load(Flags{Config: path}, noEnv)
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if c, err := load(t, ""); err != nil || c.Pools[0].Size != 3 {
		t.Errorf("empty file: %v", err)
	}
}

// secret is a file that may not be read; none, where the tests may read everything.
func secret(t *testing.T, dir string) string {
	path := filepath.Join(dir, "secret")
	os.WriteFile(path, nil, 0)
	if f, err := os.Open(path); err == nil {
		f.Close()
		return ""
	}
	return path
}
