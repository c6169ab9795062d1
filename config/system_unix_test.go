// Windows has no administrator's file; see SystemPath.

//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

// layered writes both files and reads them.
func layered(t *testing.T, systems, users string, flags Flags, vars ...string) (c *Config, system string, err error) {
	t.Helper()
	dir := t.TempDir()
	system, path := filepath.Join(dir, "etc", "config.toml"), filepath.Join(dir, "config.toml")
	for file, text := range map[string]string{system: systems, path: users} {
		testkit.Check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		testkit.Check(t, os.WriteFile(file, []byte(text), 0o644))
	}
	vars = append(vars, "HOME="+dir, "RUNTIMED_CONFIG="+path)
	c, err = loadBehind(system, flags, env(vars...))
	return c, system, err
}

func shown(c *Config, key string) Setting {
	all := c.Settings()
	return all[slices.IndexFunc(all, func(s Setting) bool { return s.Key == key })]
}

func TestAUsersFileRefinesTheAdministrators(t *testing.T) {
	seven := 7
	c, system, err := layered(t,
		"log_level = \"warn\"\n[uv]\nstore = \"/srv/store\"\n[pools.uv]\nsize = 1\nstandby = 0\n"+
			"[pools.conda]\nsize = 0\n[pools.lab]\nkind = \"uv\"\npackages = [\"numpy\"]\n",
		"[pools.uv]\nsize = 2\n[pools.lab]\nsize = 1\n[pools.own]\nkind = \"uv\"\n",
		Flags{UVPoolSize: &seven}, "RUNTIMED_LOG_LEVEL=debug")
	testkit.Check(t, err)
	for key, want := range map[string]string{
		"log_level": "RUNTIMED_LOG_LEVEL", "uv.store": system + ":3", "pools.uv.size": "--uv-pool-size",
		"pools.uv.standby": system + ":6", "pools.conda.size": system + ":8", "pools.lab.packages": system + ":11",
		"pools.lab.size": c.Path + ":4", "pools.own.kind": c.Path + ":6", "build.timeout": "default",
	} {
		if s := shown(c, key); s.Origin != want || s.LimitedBy != "" {
			t.Errorf("%s: from %s and not %s", key, s.Origin, want)
		}
	}
	if lab := pool(c, "lab"); lab.Size != 1 || !slices.Equal(lab.Packages, []string{"numpy", "ipykernel"}) ||
		c.System != system || len(c.Warnings) != 0 {
		t.Errorf("lab is %+v, the file %s, the warnings %q", lab, c.System, c.Warnings)
	}
}

func TestALimitLowersWhateverAsksForMoreAndSaysWhere(t *testing.T) {
	nine := 9
	c, system, err := layered(t, "[limits]\nsize = 2\nmax_size = \"5GiB\"\n[pools.uv]\nsize = 2\n",
		"[pools.lab]\nkind = \"uv\"\nsize = 8\n[pools.low]\nkind = \"uv\"\nsize = 1\n[projects]\nwarm = 64\n"+
			"[build]\nmax_size = \"\"\n",
		Flags{UVPoolSize: &nine}, "RUNTIMED_CONDA_POOL_SIZE=7")
	testkit.Check(t, err)
	if pool(c, "uv").Size != 2 || pool(c, "conda").Size != 2 || pool(c, "lab").Size != 2 || pool(c, "low").Size != 1 ||
		c.Projects.Warm != 2 || c.Build.MaxSize != 5<<30 {
		t.Errorf("got %+v", c)
	}
	want := []string{
		"--uv-pool-size: pools.uv.size = 9 is more than limits.size allows at " + system + ":2, so it is 2",
		"RUNTIMED_CONDA_POOL_SIZE: pools.conda.size = 7 is more than limits.size allows at " + system +
			":2, so it is 2",
		c.Path + ":3: pools.lab.size = 8 is more than limits.size allows at " + system + ":2, so it is 2",
		c.Path + ":8: projects.warm = 64 is more than limits.size allows at " + system + ":2, so it is 2",
		c.Path + `:10: build.max_size = "" is more than limits.max_size allows at ` + system + `:3, so it is "5GiB"`,
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("got %q", c.Warnings)
	}
	var out strings.Builder
	c.Write(&out)
	for _, line := range []string{"# " + system + "\n", "# warning: " + want[2] + "\n",
		" # " + c.Path + ":3; limited at " + system + ":2\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, &out)
		}
	}
}

func TestADefaultBeyondALimitIsLoweredWithoutAWarning(t *testing.T) {
	c, system, err := layered(t, "limits.size = 1\nlimits.max_size = 1000\n", "", Flags{})
	testkit.Check(t, err)
	if pool(c, "uv").Size != 1 || c.Projects.Warm != 1 || c.Build.MaxSize != 1000 || len(c.Warnings) != 0 ||
		!c.Optional("conda") {
		t.Errorf("got %+v", c)
	}
	if s := shown(c, "pools.uv.size"); s.Origin != "default" || s.LimitedBy != system+":1" {
		t.Errorf("got %+v", s)
	}
}

func TestAUsersOwnLimitsAreOnlyEverLower(t *testing.T) {
	c, system, err := layered(t, "limits.size = 4\nlimits.max_size = \"2GB\"\n",
		"limits.size = 2\nlimits.max_size = \"3GB\"\npools.uv.size = 3\n", Flags{})
	testkit.Check(t, err)
	if c.Limits != (Limits{2, 2e9}) || pool(c, "uv").Size != 2 || c.Build.MaxSize != 2e9 || len(c.Warnings) != 2 ||
		c.Warnings[0] != c.Path+`:2: limits.max_size = "3GB" is more than limits.max_size allows at `+system+
			`:2, so it is "2GB"` {
		t.Errorf("got %+v", c)
	}
	c, system, err = layered(t, "limits.size = 4\n", "limits.size = 64\npools.uv.size = 60\n", Flags{})
	testkit.Check(t, err)
	if pool(c, "uv").Size != 4 || len(c.Warnings) != 2 || shown(c, "limits.size").Origin != system+":1" {
		t.Errorf("got %+v", c)
	}
}

func TestAMistakeOfTheAdministratorsIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"\nsize = 3":                           ":2: size: unknown key",
		"[pools.uv]\nsize = 65":                ":2: pools.uv.size: must be 0 to 64, got 65",
		"[limits]\nsize = 0":                   ":2: limits.size: must be 1 to 64, got 0",
		"[limits]\nmax_size = \"much\"":        ":2: limits.max_size: must be a size",
		"[pools.lab]\nsize = 1":                ":1: pools.lab.kind: is missing",
		"cache_dir = \"/scratch\"":             ":1: cache_dir: would be one folder for all users",
		"[uv]\nstore = \"here\"":               ":2: uv.store: must be an absolute path",
		"[":                                    ":1: is not valid TOML",
		"[pools.lab]\nkind = \"snake\"\nx = 1": ":2: pools.lab.kind: must be uv or conda",
	} {
		_, system, err := layered(t, text, "", Flags{})
		if err == nil || !strings.HasPrefix(err.Error(), system+want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAnAdministratorsFileThatCannotBeTrustedOrReadIsPassedOver(t *testing.T) {
	const text = "[limits]\nsize = 1\n"
	root := os.Getuid() == 0 // who alone can give files away, and reads all
	for name, c := range map[string]struct {
		spoil func(path string) error
		want  string
		off   bool
	}{
		"its group may write": {func(path string) error { return os.Chmod(path, 0o664) },
			"others than root may write to ", false},
		"all may write": {func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
			"others than root may write to ", false},
		"another's": {func(path string) error { return os.Chown(path, 4242, 4242) },
			"belongs to uid 4242, and not to root", !root},
		"a folder": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
			"is a folder, not a file", false},
		"unreadable": {func(path string) error { return os.Chmod(path, 0) }, "permission denied", root},
	} {
		if c.off {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			system := filepath.Join(dir, "etc", "config.toml")
			testkit.Check(t, os.MkdirAll(filepath.Dir(system), 0o755))
			testkit.Check(t, os.WriteFile(system, []byte(text), 0o644))
			testkit.Check(t, c.spoil(system))
			got, err := loadBehind(system, Flags{}, env("HOME="+dir))
			testkit.Check(t, err)
			if got.System != "" || got.Limits.Size != MaxPoolSize || len(got.Warnings) != 1 ||
				!strings.HasPrefix(got.Warnings[0], system+" does not count: ") ||
				!strings.Contains(got.Warnings[0], c.want) {
				t.Errorf("got %q, %+v", got.Warnings, got.Limits)
			}
		})
	}
	for _, system := range []string{"", filepath.Join(t.TempDir(), "none", "config.toml")} {
		c, err := loadBehind(system, Flags{}, env("HOME=/nowhere"))
		if err != nil || c.System != "" || len(c.Warnings) != 0 {
			t.Errorf("%s: %+v, %v", system, c, err)
		}
	}
}

func TestAUsersPackagesAndPythonGoBeforeTheAdministratorsLockFile(t *testing.T) {
	const pins = "[pools.uv]\nlock = \"../lock.txt\"\n"
	load := func(lock, systems, users string) (*Config, string, error) {
		dir := t.TempDir()
		system, path := filepath.Join(dir, "etc", "config.toml"), filepath.Join(dir, "config.toml")
		testkit.Check(t, os.MkdirAll(filepath.Dir(system), 0o755))
		for file, text := range map[string]string{system: systems, path: users, filepath.Join(dir, "lock.txt"): lock} {
			testkit.Check(t, os.WriteFile(file, []byte(text), 0o644))
		}
		c, err := loadBehind(system, Flags{}, env("HOME="+dir, "RUNTIMED_CONFIG="+path))
		return c, system, err
	}
	for name, test := range map[string]struct {
		systems, users string
		packages       []string
		python         string
		pinned         bool
		warns          string
	}{
		"nothing": {pins, "", []string{"ipykernel"}, "3.12", true, ""},
		"fits":    {pins, "[pools.uv]\npackages = [\"ipykernel>=7\"]\n", []string{"ipykernel>=7"}, "3.12", true, ""},
		"no lock": {pins, "[pools.uv]\nlock = \"\"\n", []string{"ipykernel", "ipywidgets", "pip"}, "", false, ""},
		"a python": {pins, "[pools.uv]\npython = \"3.11\"\n", []string{"ipykernel", "ipywidgets", "pip"}, "3.11", false,
			":2: pools.uv.python goes before pools.uv.lock: must be \"3.12\""},
		"a package": {pins, "[pools.uv]\npackages = [\"numpy\"]\n", []string{"numpy", "ipykernel"}, "", false,
			":2: pools.uv.packages goes before pools.uv.lock: "},
		"a version": {pins + "python = \"3.12\"\n", "[pools.uv]\npackages = [\"ipykernel<7\"]\n",
			[]string{"ipykernel<7"}, "3.12", false, ":2: pools.uv.packages goes before pools.uv.lock: "},
	} {
		c, _, err := load(forOne+lockedKernel, test.systems, test.users)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := pool(c, "uv")
		if !slices.Equal(p.Packages, test.packages) || p.Python != test.python || (p.Locked != nil) != test.pinned ||
			(p.Lock != "") != test.pinned {
			t.Errorf("%s: %+v", name, p)
		}
		switch warned := strings.Join(c.Warnings, "\n"); {
		case test.warns == "" && warned != "":
			t.Errorf("%s: %s", name, warned)
		case test.warns != "" && !strings.HasPrefix(warned, c.Path+test.warns):
			t.Errorf("%s: %q", name, warned)
		}
	}
	for name, test := range map[string]struct{ lock, systems, users, says string }{
		"his own packages": {lockedKernel, pins + "packages = [\"numpy\"]\n", "", "has no numpy"},
		"the user's lock": {lockedKernel, "", "[pools.uv]\nlock = \"lock.txt\"\npackages = [\"numpy\"]\n",
			"has no numpy"},
		"a missing one": {"", "[pools.uv]\nlock = \"gone.txt\"\n", "", "it is the administrator's to correct"},
		"no lock file":  {"what\n", pins, "[pools.uv]\npython = \"3.11\"\n", "it is the administrator's to correct"},
	} {
		_, _, err := load(test.lock, test.systems, test.users)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
