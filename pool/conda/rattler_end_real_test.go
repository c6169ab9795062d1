//go:build e2e

package conda

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestABuildThatIsCancelledEndsAtOnce(t *testing.T) {
	r := realRattler(t)
	server := serve(t, func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true })
	ctx, cancel := context.WithCancel(t.Context())
	job := r.job(t, server.URL, "python")
	job.progress = func(builder.Stage) { time.AfterFunc(200*time.Millisecond, cancel) }
	began := time.Now()
	b := buildError(t, r.create(ctx, r.Env("a"), job))
	if took := time.Since(began); b.Cause != builder.CauseTimeout || b.Message != "the build was ended" ||
		took > 30*time.Second {
		t.Errorf("%+v after %s", b, took)
	}
	if n := proc.EndMarked(proc.MarkEnv, func(dir string) bool { return dir == r.Env("a") }); n > 0 {
		t.Errorf("%d processes went on", n)
	}
}

func TestAHelperEndsWithItsDaemon(t *testing.T) {
	r := realRattler(t)
	server := serve(t, func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true })
	request, err := json.Marshal(helperRequest{
		// whose child it is not
		Channels: []string{server.URL}, Specs: []string{"python"}, Cache: r.cache(), FetchTimeout: 60, Parent: 1,
	})
	testkit.Check(t, err)
	began := time.Now()
	last, done, err := r.run(t.Context(), r.c.uv.Tools(), builder.VenvPython(r.venv()), request, func(builder.Stage) {})
	if took := time.Since(began); last.Event != "" || err == nil || took > 30*time.Second {
		t.Errorf("%+v, %v after %s: %s", last, err, took, done.Output)
	}
}

func TestWhatAKilledHelperLeavesIsTidied(t *testing.T) {
	r := realRattler(t)
	dir := r.Env("a")
	job := r.job(t, channelDir(t), "python", "wcwidth")
	testkit.Check(t, os.MkdirAll(filepath.Join(r.cache(), "pkgs", ".half-2.0-0cd34", "lib"), 0o700))
	job.progress = func(s builder.Stage) {
		if s.Name == builder.StageDownloading {
			proc.EndMarked(proc.MarkEnv, func(mark string) bool { return mark == dir })
		}
	}
	b := buildError(t, r.create(t.Context(), dir, job))
	if b.Cause != builder.CauseOther || !strings.Contains(b.Message, "signal: killed") || b.Hint == "" ||
		strings.Contains(b.Output, "event") {
		t.Errorf("%+v", b)
	}
	packages, elsewhere := filepath.Join(r.cache(), "pkgs"), t.TempDir()
	if left, _ := filepath.Glob(filepath.Join(packages, ".*", "*")); len(left) > 0 {
		t.Errorf("%v are left until the daemon's end", left)
	}
	for path, isDir := range map[string]bool{
		".half-1.0-0ab12/lib": true, ".cache.lock": false, "whole-1.0-0/lib": true,
		"../.auth-x0000000": false, "../repodata/.x": true, "../../rattler-0.1.0/bin": true,
	} {
		path = filepath.Join(packages, path)
		err := os.MkdirAll(path, 0o700)
		if !isDir {
			_ = os.Remove(path)
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.WriteFile(filepath.Join(r.c.uv.Tools(), "rattler-0.1.0", "bin", "activate"),
		[]byte("VIRTUAL_ENV='/s/tools/.fetch-12/venv'\n"), 0o600),
		os.Mkdir(filepath.Join(elsewhere, "kept"), 0o700), os.Symlink(elsewhere, filepath.Join(packages, ".link")))
	testkit.Check(t, err)
	r.Tidy()
	entries, err := os.ReadDir(packages)
	testkit.Check(t, err)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left", e.Name())
		}
	}
	for path, stays := range map[string]bool{
		filepath.Join(packages, ".cache.lock"): true, filepath.Join(packages, "whole-1.0-0", "lib"): true,
		filepath.Join(elsewhere, "kept"):           true,
		filepath.Join(r.cache(), ".auth-x0000000"): false, filepath.Join(r.cache(), "repodata", ".x"): true,
		filepath.Join(r.c.uv.Tools(), "rattler-0.1.0"): false, builder.VenvPython(r.venv()): true,
	} {
		if envdir.Exists(path) != stays {
			t.Errorf("%s: there is %t", path, !stays)
		}
	}
	job.progress = func(builder.Stage) {}
	testkit.Check(t, os.RemoveAll(dir))
	if err := r.create(t.Context(), dir, job); err != nil {
		t.Errorf("%+v", err)
	}
}
