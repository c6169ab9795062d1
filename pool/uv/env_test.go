package uv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/internal/tool"
)

func TestUVIsAloneWithWhatConcernsIt(t *testing.T) {
	s := newStandin(t, "VIRTUAL_ENV=/decoy", "CONDA_PREFIX=/decoy", "PYTHONHOME=/decoy", "PYTHONPATH=/decoy",
		"UV_OFFLINE=1", "UV_LINK_MODE=symlink",
		"UV_PYTHON=/decoy", "HTTPS_PROXY=http://proxy", "UV_INDEX_MINE_PASSWORD=pw", "PIP_INDEX_URL=https://index")
	s.Configure(Config{IndexURL: "https://mine/simple", Copy: true})
	dir, _, err := s.build(wanting("ipykernel"))
	testkit.Check(t, err)
	env := strings.Split(strings.TrimSpace(s.Took("env")), "\n")
	for name, want := range map[string]string{
		"VIRTUAL_ENV": "", "CONDA_PREFIX": "", "PYTHONHOME": "", "PYTHONPATH": "", "UV_PYTHON": "",
		"UV_OFFLINE": "false", "UV_LINK_MODE": "copy", "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "NO_COLOR": "1",
		"HTTPS_PROXY": "http://proxy", "UV_INDEX_MINE_PASSWORD": "pw", "PIP_INDEX_URL": "https://index",
		"UV_DEFAULT_INDEX": "https://mine/simple", "UV_CONFIG_FILE": tool.Lookup(s.ToolEnviron(), "UV_CONFIG_FILE"),
		proc.MarkEnv: dir,
	} {
		if got := tool.Lookup(env, name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestTheUsersOwnConfigurationOfUVCounts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it is elsewhere here; see TestTheUsersConfigurationAndCacheOfUVAreWhereWindowsHasThem")
	}
	home, xdg := t.TempDir(), t.TempDir()
	config := func(environ ...string) string {
		return tool.Lookup(New(t.TempDir(), Config{}, environ, zap.NewNop()).ToolEnviron(), "UV_CONFIG_FILE")
	}
	system := config("HOME=" + home)
	if system != "" && system != "/etc/uv/uv.toml" {
		t.Errorf("the system's is %s", system)
	}
	for _, dir := range []string{filepath.Join(home, ".config", "uv"), filepath.Join(xdg, "uv")} {
		testkit.Check(t, errors.Join(os.MkdirAll(dir, 0o700),
			os.WriteFile(filepath.Join(dir, "uv.toml"), nil, 0o600)))
	}
	mine := filepath.Join(home, ".config/uv/uv.toml")
	for want, environ := range map[string][]string{
		mine:                             {"HOME=" + home},
		filepath.Join(xdg, "uv/uv.toml"): {"HOME=" + home, "XDG_CONFIG_HOME=" + xdg},
		system:                           {"HOME=relative"},
	} {
		if got := config(environ...); got != want {
			t.Errorf("%v: %s, not %s", environ, got, want)
		}
	}
	if got := config("HOME="+home, "XDG_CONFIG_HOME=relative", "UV_CONFIG_FILE=/decoy"); got != mine {
		t.Error(got)
	}
}

func TestUVsCacheIsTheUsersWhereItCanBeLinkedFrom(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it is elsewhere here; see TestTheUsersConfigurationAndCacheOfUVAreWhereWindowsHasThem")
	}
	home, own := t.TempDir(), t.TempDir()
	at := func(state string, environ ...string) string {
		return New(state, Config{}, environ, zap.NewNop()).cacheDir()
	}
	for want, got := range map[string]string{
		filepath.Join(home, ".cache/uv"):     at(own, "HOME="+home),
		filepath.Join(home, "xdg/uv"):        at(own, "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "xdg")),
		filepath.Join(home, "mine"):          at(own, "HOME="+home, "UV_CACHE_DIR="+filepath.Join(home, "mine")),
		filepath.Join(own, "tools/uv-cache"): at(own),
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if got := at(own, "HOME=/proc/nowhere"); got != filepath.Join(own, "tools/uv-cache") {
		t.Errorf("a cache that cannot be made: %s", got)
	}
	other := t.TempDir()
	testkit.MountTmpfs(t, other, "1m")
	if got := at(other, "HOME="+home); got != filepath.Join(other, "tools/uv-cache") {
		t.Errorf("on another file system: %s", got)
	}
}
