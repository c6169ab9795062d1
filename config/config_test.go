package config

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

func noEnv(string) string { return "" }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

// load writes the file and reads it as if it had been asked for.
func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	testkit.Check(t, os.WriteFile(path, []byte(text), 0o600))
	return Load(Flags{Config: path}, noEnv)
}

// home is the variable that leads to the user's file.
func home(dir string) string {
	if runtime.GOOS == "windows" {
		return "APPDATA=" + dir
	}
	return "HOME=" + dir
}

// rooted is an absolute path of this system as the file has it.
func rooted(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(testkit.Rooted(path)) + `"`
}

func pool(c *Config, name string) Pool {
	for _, p := range c.Pools {
		if p.Name == name {
			return p
		}
	}
	return Pool{}
}

func TestDefaults(t *testing.T) {
	c, err := Load(Flags{}, env(home(t.TempDir())))
	testkit.Check(t, err)
	uv, conda := pool(c, "uv"), pool(c, "conda")
	if c.LogLevel != "info" || c.IdleExit != 30*time.Minute || c.StandbyIdle != time.Hour || c.CacheDir != "" ||
		c.Build.Parallel < 1 || c.Build.Timeout != 10*time.Minute || c.Build.MinFree != 1<<30 || c.Build.MaxSize != 0 ||
		c.Build.LockAge != 24*time.Hour {
		t.Errorf("got %+v", c)
	}
	want := Pool{"uv", "uv", 3, "", []string{"ipykernel", "ipywidgets", "pip"}, nil, 48 * time.Hour, 1, []string{}, 0,
		"", nil, ""}
	if !reflect.DeepEqual(uv, want) {
		t.Errorf("uv: got %+v", uv)
	}
	if conda.Size != 3 || conda.Kind != "conda" || !reflect.DeepEqual(conda.Channels, []string{"conda-forge"}) {
		t.Errorf("conda: got %+v", conda)
	}
	if len(c.Origins) != 0 {
		t.Errorf("origins: %v", c.Origins)
	}
}

// Each faulty line alone is refused with line, key and reason.
func TestThePoolOfCondaIsOptionalUntilSomebodyAsksForIt(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		vars []string
		want bool
	}{
		"by default":            {"", nil, true},
		"others are configured": {"[pools.uv]\nsize = 1\n[build]\nparallel = 1\n", nil, true},
		"a key of the pool":     {"[pools.conda]\nmax_age = \"24h\"\n", nil, false},
		"a key of conda":        {"[conda]\nprovider = \"mamba\"\n", nil, false},
		"a variable":            {"", []string{"RUNTIMED_CONDA_POOL_SIZE=3"}, false},
		"it is the only one":    {"[pools.uv]\nsize = 0\n", nil, false},
	} {
		path := filepath.Join(t.TempDir(), "config.toml")
		testkit.Check(t, os.WriteFile(path, []byte(c.file), 0o600))
		cfg, err := Load(Flags{Config: path}, env(c.vars...))
		testkit.Check(t, err)
		if got := cfg.Optional("conda"); got != c.want || cfg.Optional("uv") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[pools.uv]\nsize = 500", `2: pools.uv.size: must be 0 to 64, got 500`},
		{"[pools.uv]\nsize = -1", `2: pools.uv.size: must be 0 to 64, got -1`},
		{"pools.uv.size = \"many\"", `1: pools.uv.size: must be 0 to 64, got "many"`},
		{"pools.uv.size = 1.5", `1: pools.uv.size: must be 0 to 64, got 1.5`},
		{"pools.uv.size = 99999999999999999999", `1: is not valid TOML: `},
		{"pools = {uv = {size = 65}}", `1: pools.uv.size: must be 0 to 64, got 65`},
		{"pools = 3", `1: pools: must be a table, got 3`},
		{"[[pools]]\nname = 1", `1: pools: must be a table, got a list`},
		{"[[pools.uv]]\nsize = 1", `1: pools.uv: must be a table, got a list`},
		{"pools.uv = 3", `1: pools.uv: must be a table, got 3`},
		{"build = 1", `1: build: must be a table, got 1`},
		{"[log_level]\nx = 1", `1: log_level: must be a text in quotes, got a table`},
		{"\n\nsize = 3",
			`3: size: unknown key; there are log_level, idle_exit, standby_idle, cache_dir, [build], [uv], ` +
				`[conda], [projects], [limits], [pools.NAME]`},
		{"[pools.uv]\nsise = 3",
			`2: pools.uv.sise: unknown key; there are kind, size, python, packages, channels, lock, max_age, ` +
				`standby, preload, idle`},
		{"[build]\nparalel = 3",
			`2: build.paralel: unknown key; there are parallel, timeout, min_free, max_size, lock_age`},
		{"[uv.path]\nx = 1", `1: uv.path: must be a text in quotes, got a table`},
		{"[deep.er]\nx = 1", `1: deep.er: unknown key; there are`},
		{"\"build.parallel\" = 1", `1: "build.parallel": unknown key`},
		{"\"a\\nb\" = 1", `1: "a\nb": unknown key`},
		{"Log_level = \"info\"", `1: Log_level: unknown key`},
		{"log_level = \"loud\"", `1: log_level: must be debug, info, warn or error, got "loud"`},
		{"log_level = true", `1: log_level: must be a text in quotes, got true`},
		{"idle_exit = 30", `1: idle_exit: must be a duration like "30m" or "48h", got 30`},
		{"idle_exit = \"-1s\"", `1: idle_exit: must be at least 0, got "-1s"`},
		{"idle_exit = \"soon\"", `1: idle_exit: must be a duration`},
		{"pools.uv.max_age = \"0\"", `1: pools.uv.max_age: must be at least 1s, got "0"`},
		{"pools.uv.idle = \"9.9s\"", `1: pools.uv.idle: must be at least 10s, or "0" for never, got "9.9s"`},
		{"[pools.uv]\nidle = \"-1h\"", `2: pools.uv.idle: must be at least 0, got "-1h"`},
		{"pools.uv.idle = 8", `1: pools.uv.idle: must be a duration like "30m" or "48h", got 8`},
		{"standby_idle = 60", `1: standby_idle: must be a duration like "30m" or "48h", got 60`},
		{"standby_idle = \"-1s\"", `1: standby_idle: must be at least 0, got "-1s"`},
		{"pools.uv.standby = 65", `1: pools.uv.standby: must be 0 to 64, got 65`},
		{"[pools.uv]\nstandby = -1", `2: pools.uv.standby: must be 0 to 64, got -1`},
		{"pools.uv.standby = true", `1: pools.uv.standby: must be 0 to 64, got true`},
		{"[pools.uv]\nsize = 1\npreload = \"numpy\"", `3: pools.uv.preload: must be a list of texts, got "numpy"`},
		{"pools.uv.preload = [\"numpy\", 1]", `1: pools.uv.preload: must be a list of texts, got 1 in it`},
		{"pools.uv.preload = [\"numpy\", \"numpy>=2\"]",
			`1: pools.uv.preload: must be names of modules like "pandas" or "matplotlib.pyplot", got "numpy>=2"`},
		{"pools.uv.preload = [\"\"]", `1: pools.uv.preload: must be names of modules`},
		{"pools.uv.preload = [\"a; b\"]", `1: pools.uv.preload: must be names of modules`},
		{"pools.uv.preload = [\".a\"]", `1: pools.uv.preload: must be names of modules`},
		{"pools.uv.preload = [\"" + strings.Repeat("a", 201) + "\"]", `1: pools.uv.preload: must be names of modules`},
		{"pools.uv.preload = [" + strings.Repeat(`"a",`, 101) + "]",
			`1: pools.uv.preload: must name at most 100 modules, got 101`},
		{"cache_dir = \"here\"", `1: cache_dir: must be an absolute path, got "here"`},
		{"cache_dir = \"~/here\"", `1: cache_dir: must be an absolute path, got "~/here"`},
		{"cache_dir = " + strings.TrimSuffix(rooted("/a"), `"`) + `\u0000b"`,
			`1: cache_dir: must be a path without control characters`},
		{"build.parallel = 0", `1: build.parallel: must be 1 to 256, got 0`},
		{"build.timeout = \"0\"", `1: build.timeout: must be at least 1s, got "0"`},
		{"build.min_free = \"1 GiBi\"", `1: build.min_free: must be a size like`},
		{"build.min_free = -1", `1: build.min_free: must be a size like`},
		{"build.max_size = \"99999999TiB\"", `1: build.max_size: must be a size like`},
		{"uv.path = \"uv\"", `1: uv.path: must be an absolute path, got "uv"`},
		{"uv.index_url = \"secret@host\"", `1: uv.index_url: must be a URL that begins with https://`},
		{"uv.link = \"hard\"", `1: uv.link: must be auto or copy, got "hard"`},
		{"conda.provider = \"anaconda\"",
			`1: conda.provider: must be auto, micromamba, mamba, conda or rattler, got "anaconda"`},
		{"pools.uv.kind = \"conda\"", `1: pools.uv.kind: is always "uv" in this pool, got "conda"`},
		{"pools.conda.kind = \"uv\"", `1: pools.conda.kind: is always "conda" in this pool, got "uv"`},
		{"pools.uv.python = 3.12", `1: pools.uv.python: must be a text in quotes, got 3.12`},
		{"pools.uv.python = \"2.7\"",
			`1: pools.uv.python: must be empty, a version like "3.12" or an absolute path, got "2.7"`},
		{"pools.uv.python = \"bin/python\"", `1: pools.uv.python: must be empty,`},
		{"pools.conda.python = " + rooted("/usr/bin/python3"),
			`1: pools.conda.python: must be a version like "3.12" in a conda pool`},
		{"pools.uv.packages = \"numpy\"", `1: pools.uv.packages: must be a list of texts, got "numpy"`},
		{"pools.uv.packages = [1]", `1: pools.uv.packages: must be a list of texts, got 1 in it`},
		{"pools.uv.channels = [\"conda-forge\"]", `1: pools.uv.channels: is for conda pools only`},
		{"pools.conda.channels = []", `1: pools.conda.channels: must name one at least`},
		{"conda.provider = \"rattler\"\nconda.path = " + rooted("/x"),
			`2: conda.path: is for the other providers`},
		{"pools.conda.channels = [\"-c x\"]", `1: pools.conda.channels: must be names of channels or their URLs`},
		{"\n[pools.data]\nsize = 1", `2: pools.data.kind: is missing; it is "uv" or "conda"`},
		{"[pools.data]\nkind = \"pip\"", `2: pools.data.kind: must be uv or conda, got "pip"`},
		{"[pools.data]\nkind = \"uv\"\nchannels = []", `3: pools.data.channels: is for conda pools only`},
		{"[pools.Data]\nkind = \"uv\"",
			`1: pools.Data: a pool's name is a lower-case letter and then up to 31 of a-z, 0-9, _ and -`},
		{"[pools.\"a b\"]\nkind = \"uv\"", `1: pools."a b": a pool's name`},
		{"[pools." + strings.Repeat("a", 33) + "]", `1: pools.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: a pool's name`},
		{"a = 1\na = 2", `2: is not valid TOML: `},
		{"[pools.uv]\n[pools.uv]", `2: is not valid TOML: `},
		{"log_level = info", `1: is not valid TOML: `},
		{"log_level = \"\xff\"", `1: is not valid TOML: `},
		{"\xff\xfe", `1: is not valid TOML: `},
	} {
		_, err := load(t, tt.text)
		if err == nil {
			t.Errorf("%q: no fault, want %q", tt.text, tt.want)
			continue
		}
		if _, rest, ok := strings.Cut(err.Error(), "config.toml:"); !ok || !strings.HasPrefix(rest, tt.want) ||
			strings.Contains(rest, "\n") {
			t.Errorf("%q:\n got %s\nwant %s", tt.text, err, tt.want)
		}
	}
}

func TestIndexURLIsNotRepeated(t *testing.T) {
	if _, err := load(t, `uv.index_url = "ftp://me:hunter2@host/"`); err == nil ||
		strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := load(t, "log_level = 1\nwhat = 2\n[pools.uv]\nsize = 99\n[pools.x]\n")
	faults, ok := err.(Faults)
	if !ok || len(faults) != 4 || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestFile(t *testing.T) {
	c, err := load(t, "\ufeff"+`log_level = "debug"
idle_exit = "0"
standby_idle = "0"
cache_dir = `+rooted(`/abs/é "x"`)+`
build = { parallel = 2, timeout = "90s", min_free = 0, max_size = "1.5 GiB", lock_age = "168h" }

[uv]
path = `+rooted("/opt/uv")+`
index_url = "https://index.invalid/simple"
link = "copy"
[pools.zeta]
kind = "uv"
size = 1
python = "3.12"
packages = ["numpy>=2,<3", "IPyKernel[test] >= 6", "pandas @ https://h/p.whl#sha256=00", "tomli; os_name=='x'"]
[pools.alpha]
kind = "conda"
packages = ["conda-forge::numpy", "scipy=1.*", "python>=3.9"]
channels = ["https://conda.invalid/c", "bioconda/label/main"]
standby = 0
preload = ["pandas", "matplotlib.pyplot", "_a1", "größe"]
idle = "10s"
[pools.uv]
size = 0
packages = []
max_age = "36h30m"
`)
	testkit.Check(t, err)
	if c.LogLevel != "debug" || c.IdleExit != 0 || c.StandbyIdle != 0 || c.CacheDir != testkit.Rooted(`/abs/é "x"`) ||
		c.UV != (UV{testkit.Rooted("/opt/uv"), "https://index.invalid/simple", "copy", ""}) ||
		c.Build != (Build{2, 90 * time.Second, 0, 3 << 29, 168 * time.Hour}) {
		t.Errorf("got %+v", c)
	}
	var order []string
	for _, p := range c.Pools {
		order = append(order, p.Name)
	}
	if got := strings.Join(order, " "); got != "uv conda zeta alpha" {
		t.Errorf("order: %s", got)
	}
	if p := pool(c, "zeta"); len(p.Packages) != 4 || p.Python != "3.12" || p.MaxAge != 48*time.Hour ||
		p.Standby != 1 || p.Idle != 0 || p.Preload == nil || len(p.Preload) != 0 {
		t.Errorf("zeta: %+v", p)
	}
	if p := pool(c, "alpha"); p.Size != 3 || p.Packages[3] != "ipykernel" || len(p.Channels) != 2 ||
		p.Standby != 0 || p.Idle != 10*time.Second || len(p.Preload) != 4 || p.Preload[1] != "matplotlib.pyplot" {
		t.Errorf("alpha: %+v", p)
	}
	if p := pool(c, "uv"); p.Size != 0 || !reflect.DeepEqual(p.Packages, []string{"ipykernel"}) {
		t.Errorf("uv: %+v", p)
	}
	if got := c.Origins["pools.uv.max_age"]; !strings.HasSuffix(got, "config.toml:26") {
		t.Errorf("origin: %s", got)
	}
	if got := c.Origins["build.timeout"]; !strings.HasSuffix(got, "config.toml:5") {
		t.Errorf("origin: %s", got)
	}
}

func TestPackages(t *testing.T) {
	for s, uv := range map[string]bool{
		"numpy": true, "numpy==1.2.*": true, "a": true, "A.b-c_d": true, "x[a,b]>=1,!=1.5": true, "x (>=1)": true,
		"x===1!2.0+local": true,
		"":                false, " ": false, "-r other.txt": false, "--index-url=x": false, "-e .": false,
		"a\nb": false, "a\r": false, "a\x00": false,
		"numpy --hash=sha256:00": false, "numpy # note": false, "numpy\\": false, "numpy; x\\": false,
		"numpy; os_name == 'x' --pre": false,
		"numpy pandas":                false, "./wheel.whl": false, "/abs/wheel.whl": false, "git+https://x": false,
		"numpy>=": false, "x @ ": false,
		strings.Repeat("a", 1001): false, "é": false, "numpy;": false, "x @ https://h/a b": false,
	} {
		if got := checkPackages([]string{s}, KindUV) == ""; got != uv {
			t.Errorf("uv %q: %v", s, got)
		}
	}
	for s, conda := range map[string]bool{
		"numpy": true, "numpy=1.26": true, "numpy 1.26.* py312*": true, "conda-forge::numpy>=2": true,
		"numpy[version='>=1']": true,
		"":                     false, "-c x": false, "numpy --force": false, "a\nb": false,
	} {
		if got := checkPackages([]string{s}, KindConda) == ""; got != conda {
			t.Errorf("conda %q: %v", s, got)
		}
	}
	for s, is := range map[string]bool{
		"ipykernel": true, "IPyKernel>=6": true, "ipykernel[x]": true, "conda-forge::ipykernel=7": true,
		"ipykernel-extra": false, "my-ipykernel": false, "ipykernels": false,
	} {
		if got := names([]string{s}, "ipykernel"); got != is {
			t.Errorf("%q names ipykernel: %v", s, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[any]int64{
		"": 0, "0": 0, "17": 17, "1GiB": 1 << 30, "1gib": 1 << 30, "500MB": 5e8, "2 kB": 2000, "1.5KiB": 1536,
		"1TiB": 1 << 40, "9B": 9, int64(12): 12,
		"GiB": -1, "1G": -1, "1e3": -1, "-1MB": -1, "1_000": -1, "0x10": -1, "9223372036854775807": 9223372036854775807,
		"9223372036854775808": -1,
		"8388608TiB":          -1, true: -1, 1.5: -1, strings.Repeat("9", 400): -1,
	} {
		got, ok := parseSize(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%v: got %d, want %d", s, got, want)
		}
	}
}

func TestWhatIsNotUTF8IsRefusedByName(t *testing.T) {
	home := home(t.TempDir())
	for name, load := range map[string]func() error{
		"cache_dir": func() error { _, err := Load(Flags{CacheDir: "/c\xe9"}, env(home)); return err },
		"RUNTIMED_CACHE_DIR": func() error {
			_, err := Load(Flags{}, env(home, "RUNTIMED_CACHE_DIR=/c\xe9"))
			return err
		},
	} {
		if err := load(); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "-", "_"), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
