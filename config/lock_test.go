package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

const lockedKernel = "ipykernel==7.1.0 --hash=sha256:1111111111111111111111111111111111111111111111111111111111111111\n"

const forOne = "# runt pool lock, for Python 3.12 on linux-amd64\n"

// pinnedTo loads a configuration that pins the pool uv to the file lock.txt beside it.
func pinnedTo(t *testing.T, lock, more string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	text := "[pools.uv]\nlock = \"lock.txt\"\n" + more
	for name, text := range map[string]string{"lock.txt": lock, "config.toml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(Flags{Config: filepath.Join(dir, "config.toml")}, func(string) string { return "" })
}

func TestALockFileTakesThePlaceOfPackages(t *testing.T) {
	c, err := pinnedTo(t, forOne+lockedKernel, "")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pools[0]
	if p.Locked == nil || !filepath.IsAbs(p.Lock) || p.Python != "3.12" ||
		!slices.Equal(p.Packages, []string{"ipykernel"}) {
		t.Errorf("%+v", p)
	}
	c, err = pinnedTo(t, lockedKernel, "packages = [\"IPyKernel>=7\"]\npython = \"3.11\"\n")
	if err != nil || c.Pools[0].Python != "3.11" {
		t.Errorf("%v %+v", err, c)
	}
}

func TestALockFileThatCannotServeIsAFaultOfTheConfiguration(t *testing.T) {
	none := testkit.Refusal(t, filepath.Join(t.TempDir(), "gone.txt"))
	for says, files := range map[string][2]string{
		"lock.txt:2: \"numpy==2\" has no --hash": {lockedKernel + "numpy==2\n", ""},
		"has no ipykernel, which every":          {strings.Replace(lockedKernel, "ipykernel", "numpy", 1), ""},
		"has no numpy, and packages has":         {lockedKernel, "packages = [\"numpy\"]\n"},
		"has ipykernel 7.1.0, and packages":      {lockedKernel, "packages = [\"ipykernel>=8\"]\n"},
		"lock.txt names no package":              {"", ""},
		"must be \"3.12\", since":                {forOne + lockedKernel, "python = \"3.1\"\n"},
		"lock.txt:1: \"ipykernel==7.1.0":         {lockedKernel, "[pools.conda]\nlock = \"lock.txt\"\n"},
		"must be a path without control":         {lockedKernel, "[pools.b]\nkind = \"uv\"\nlock = \"a\\u0007\"\n"},
		"gone.txt cannot be read: " + none:       {lockedKernel, "[pools.b]\nkind = \"uv\"\nlock = \"gone.txt\"\n"},
		"must be a path from the root or":        {lockedKernel, "[pools.b]\nkind = \"uv\"\nlock = \"~/gone.txt\"\n"},
		"is a folder, not a file":                {lockedKernel, "[pools.b]\nkind = \"uv\"\nlock = \"/\"\n"},
		"is larger than 4":                       {lockedKernel + strings.Repeat("#", 5<<20), ""},
	} {
		if _, err := pinnedTo(t, files[0], files[1]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestAtAStartALockFileThatCannotServeIsTheFaultOfItsPoolAlone(t *testing.T) {
	dir := t.TempDir()
	text := "[pools.uv]\nlock = \"lock.txt\"\npackages = [\"numpy\"]\n" +
		"[pools.gone]\nkind = \"uv\"\nlock = \"gone.txt\"\n"
	flags := Flags{Config: filepath.Join(dir, "config.toml")}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lock.txt", lockedKernel)
	write("config.toml", text)
	env := func(string) string { return "" }
	c, err := LoadToStart(flags, env)
	if err != nil {
		t.Fatal(err)
	}
	_, strict := Load(flags, env)
	none := testkit.Refusal(t, filepath.Join(dir, "gone.txt"))
	for i, says := range map[int]string{0: "config.toml:2: pools.uv.lock: ", 2: "gone.txt cannot be read: " + none} {
		p := c.Pools[i]
		if p.Locked != nil || !strings.Contains(p.Unlocked, says) || !slices.Contains(c.Warnings, p.Unlocked) ||
			strict == nil || !strings.Contains(strict.Error(), p.Unlocked) {
			t.Errorf("%+v, want %q\n%v\n%q", p, says, strict, c.Warnings)
		}
	}
	if c.Pools[1].Unlocked != "" {
		t.Errorf("a pool without a lock file: %s", c.Pools[1].Unlocked)
	}
	write("config.toml", text+"size = \"many\"\n")
	if _, err := LoadToStart(flags, env); err == nil || strings.Contains(err.Error(), "gone.txt") {
		t.Errorf("another mistake: %v", err)
	}
}
