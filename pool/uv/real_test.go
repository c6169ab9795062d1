//go:build e2e

package uv

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// realUV makes a UV as the daemon has it: what uv it finds, it takes; where there is none, it fetches one. HOME is the
// test's own; a cache may be shared through UV_CACHE_DIR.
func realUV(t *testing.T) *Builder {
	t.Helper()
	environ := []string{"HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "VIRTUAL_ENV=/decoy", "PYTHONHOME=/decoy",
		"CONDA_PREFIX=/decoy"}
	for _, v := range tool.Environ(os.Environ()) {
		if !strings.HasPrefix(v, "HOME=") && !strings.HasPrefix(v, "XDG_") {
			environ = append(environ, v)
		}
	}
	if cache := os.Getenv("UV_CACHE_DIR"); cache != "" {
		environ = append(environ, "UV_CACHE_DIR="+cache)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	return New(dir, Config{}, environ, zap.NewNop())
}

// bytecode is the .pyc files below dir, and when they were written.
func bytecode(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	found := map[string]time.Time{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pyc") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			found[path] = info.ModTime()
		}
		return err
	})
	testkit.Check(t, err)
	return found
}

// TestRealEnvironments needs a Python with pip, or uv, and the package index.
func TestRealEnvironments(t *testing.T) {
	u := realUV(t)
	sp := wanting("ipykernel", "ipywidgets", "pip")
	for i, id := range []string{"uv-00000001", "uv-00000002"} {
		dir := filepath.Join(u.Dir, "envs", id)
		began := time.Now()
		var stages []string
		built, err := u.Build(t.Context(), sp, dir, func(s builder.Stage) { stages = append(stages, s.Message) })
		if err != nil {
			t.Fatalf("%+v after %q", err, stages)
		}
		t.Logf("environment %d in %s, %q", i+1, time.Since(began).Round(time.Millisecond), stages)
		for _, name := range []string{"ipykernel", "ipywidgets", "pip", "pyzmq", "jupyter-client"} {
			if !slices.ContainsFunc(built.Packages,
				func(p builder.Package) bool { return p.Name == name && p.Version != "" }) {
				t.Errorf("%s is not in %v", name, built.Packages)
			}
		}
		list, err := envdir.Sentinels(dir, built.Sentinels)
		if err != nil || len(list) < 4 {
			t.Errorf("%v, %v", built.Sentinels, err)
		}
		before := bytecode(t, dir)
		if len(before) < 300 {
			t.Errorf("only %d .pyc files", len(before))
		}
		kernel := exec.CommandContext(t.Context(), built.Python, "-c",
			"import ipykernel.kernelapp, ipykernel_launcher, ipywidgets, pip, sys; print(sys.prefix)")
		kernel.Env = []string{"PATH=/nowhere"}
		if out, err := kernel.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != dir {
			t.Errorf("%v: %s", err, out)
		}
		for path, at := range bytecode(t, dir) {
			if was, ok := before[path]; strings.Contains(path, "ipykernel") && (!ok || !was.Equal(at)) {
				t.Errorf("%s was written again", path)
			}
		}
	}
	dir := filepath.Join(u.Dir, "envs", "uv-00000002")
	if err := os.WriteFile(filepath.Join(dir, envdir.ManifestName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.Verify(t.Context(), builder.Built{}, dir); err != nil {
		t.Errorf("a whole environment: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "lib", "python*", "site-packages", "tornado", "web.py"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	// a new file in its place, since the old one is linked from the other environment and from the cache
	past := time.Now().Add(-time.Hour)
	testkit.Check(t, errors.Join(os.Remove(files[0]), os.WriteFile(files[0], []byte("x = 1\n"), 0o600),
		os.Chtimes(filepath.Dir(files[0]), past, past)))
	if err := u.Verify(t.Context(), builder.Built{}, dir); err == nil ||
		!strings.Contains(err.Error(), "tornado/web.py") {
		t.Errorf("a damaged environment: %v", err)
	}

	_, err = u.Build(t.Context(), wanting("ipykernel", "runtimed-has-no-such-package-zz"),
		filepath.Join(u.Dir, "envs", "uv-00000003"), func(builder.Stage) {})
	var b *builder.Error
	if !errors.As(err, &b) || b.Cause != builder.CausePackageNotFound ||
		b.Package != "runtimed-has-no-such-package-zz" {
		t.Errorf("%+v", b)
	}
}
