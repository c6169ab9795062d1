package uv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/internal/tool"
)

func TestTheUsersConfigurationAndCacheOfUVAreWhereWindowsHasThem(t *testing.T) {
	roaming, local, all, own := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	u := New(own, Config{}, []string{"APPDATA=" + roaming, "LOCALAPPDATA=" + local, "PROGRAMDATA=" + all}, zap.NewNop())
	config := func() string { return tool.Lookup(u.ToolEnviron(), "UV_CONFIG_FILE") }
	if got := config(); got != "" {
		t.Errorf("there is none, and it is %s", got)
	}
	for _, dir := range []string{all, roaming} { // the last one counts
		path := filepath.Join(dir, "uv", "uv.toml")
		testkit.Check(t, errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)))
		if got := config(); got != path {
			t.Errorf("it is %s, not %s", got, path)
		}
	}
	if got := u.cacheDir(); got != filepath.Join(local, "uv", "cache") {
		t.Errorf("the cache is %s", got)
	}
	for _, bad := range []string{"", "relative"} {
		u := New(own, Config{}, []string{"LOCALAPPDATA=" + bad}, zap.NewNop())
		if got := u.cacheDir(); got != filepath.Join(own, "tools", "uv-cache") {
			t.Errorf("with LOCALAPPDATA=%s the cache is %s", bad, got)
		}
	}
}

func TestThePythonsOfTheUsersFolderAreLookedAt(t *testing.T) {
	home := t.TempDir()
	s := newStandin(t, "USERPROFILE="+home)
	wanted := filepath.Join(home, `.pyenv\pyenv-win\versions\3.12.1`)
	testkit.Check(t, os.MkdirAll(wanted, 0o700))
	_, err := s.Installed(t.Context(), s.Program("uv"), "", "")
	testkit.Check(t, err)
	path := tool.Lookup(strings.Split(s.Took("env"), "\n"), "PATH")
	for _, dir := range filepath.SplitList(path) {
		if dir == wanted {
			return
		}
	}
	t.Errorf("uv looks in %q", path)
}
