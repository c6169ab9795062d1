//go:build e2e

package conda

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// testChannel is a real channel in a folder, or why there is none.
var testChannel = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("python3", "../../testdata/tools/conda_channel.py")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(err, errors.New(said.String()))
	}
	return strings.TrimSpace(string(out)), err
})

func channelDir(t *testing.T) string {
	t.Helper()
	dir, err := testChannel()
	var exit *exec.ExitError
	here := runtime.GOOS == "linux" && runtime.GOARCH == "amd64"
	if errors.As(err, &exit) && exit.ExitCode() == 77 && (os.Getenv("CI") == "" || !here) {
		t.Skip(err)
	}
	testkit.Check(t, err)
	return dir
}

// readyVenv is made once, and kept.
var readyVenv sync.Mutex

// realRattler is a rattler whose venv is there already.
func realRattler(t *testing.T, environ ...string) *rattler {
	t.Helper()
	channelDir(t)
	kept := bareRattler(t, testkit.NetEnviron()...)
	kept.c.uv.Dir = filepath.Join(testkit.KeptTools(t), "rattler")
	readyVenv.Lock()
	_, err := kept.ready(t.Context(), "", func(builder.Stage) {})
	readyVenv.Unlock()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	r := bareRattler(t, environ...)
	testkit.Check(t, errors.Join(os.MkdirAll(r.c.uv.Tools(), 0o700), os.Symlink(kept.venv(), r.venv())))
	return r
}

// serve is the channel over http, with a handler before it that may answer in its place.
func serve(t *testing.T, before func(w http.ResponseWriter, r *http.Request) (answered bool)) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(channelDir(t)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func TestACondaEnvironmentIsMadeOfWhatTheChannelsHave(t *testing.T) {
	r := realRattler(t)
	var requests atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) bool { requests.Add(1); return false })
	job := r.job(t, server.URL, "python", "wcwidth", "rt-lib", "rt-activate", "rt-postlink")
	var stages []builder.Stage
	job.progress = func(s builder.Stage) { stages = append(stages, s) }
	build := func(id string) {
		t.Helper()
		dir, began := r.Env(id), time.Now()
		if err := r.create(t.Context(), dir, job); err != nil {
			t.Fatalf("%+v", err)
		}
		t.Logf("%s in %s with %d requests", id, time.Since(began).Round(time.Millisecond), requests.Load())
		checkPrefix(t, dir)
	}
	build("channels")
	checkStages(t, stages)
	info, err := os.Stat(job.to)
	data, _ := os.ReadFile(job.to)
	if err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(data), "sha256:") ||
		!strings.Contains(string(data), "python >=3.9") {
		t.Errorf("%v %v: %.600s", info, err, data)
	}

	server.Close()
	requests.Store(0)
	solved := job
	solved.to = filepath.Join(t.TempDir(), "lock")
	job.from, job.to, job.channels = job.to, "", []string{server.URL}
	build("locked")
	job = solved // what is known of the channels, and the packages, are there
	build("offline")
	again, _ := os.ReadFile(solved.to)
	if string(again) != string(data) {
		t.Error("another set was solved without the network")
	}
	if b := buildError(t, r.renew(t.Context(), r.c.uv.Tools(), solved)); b.Cause != builder.CauseNetwork {
		t.Errorf("%+v", b)
	}
}

// checkPrefix sees whether an environment is complete, and runs from where it is.
func checkPrefix(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), pythonOf(dir), "-I", "-c",
		"import wcwidth, sys; print(sys.prefix)").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != dir {
		t.Errorf("%v: %s", err, out)
	}
	packages, err := condaPackages(dir)
	if err != nil || len(packages) != 5 {
		t.Errorf("%d packages, %v", len(packages), err)
	}
	if _, err := wholePrefix(t.Context(), dir, packages); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "rt-postlink")); err != nil {
		t.Errorf("the link script did not run: %v", err)
	}
}

func checkStages(t *testing.T, stages []builder.Stage) {
	t.Helper()
	order := []string{builder.StageResolving, builder.StageDownloading, builder.StageInstalling}
	at, part, said := 0, 0.0, map[string]int{}
	for _, s := range stages {
		i := slices.Index(order, s.Name)
		if i < at || s.Message == "" {
			t.Errorf("%+v after %s", s, order[at])
		}
		if i > at {
			at, part = i, 0
		}
		if s.Fraction != nil {
			if *s.Fraction < part || *s.Fraction > 1 {
				t.Errorf("%s: %g after %g", s.Message, *s.Fraction, part)
			}
			part = *s.Fraction
		}
		said[s.Name]++
	}
	if len(said) != 3 || part != 1 || len(stages) > 60 {
		t.Errorf("%d stages, %v, the last at %g", len(stages), said, part)
	}
}

func TestWhatIsEditedInOneEnvironmentIsNotInTheNext(t *testing.T) {
	r := realRattler(t)
	server := serve(t, nil)
	script := func(id string) string {
		return filepath.Join(r.Env(id), "etc", "conda", "activate.d", "rt-activate.sh")
	}
	var before []byte
	for _, id := range []string{"a", "b"} {
		_ = r.create(t.Context(), r.Env(id), r.job(t, server.URL, "rt-activate")) // which has no Python
		data, err := os.ReadFile(script(id))
		data = bytes.ReplaceAll(data, []byte(r.Env(id)), nil)
		if err != nil || id == "b" && !bytes.Equal(data, before) {
			t.Fatalf("%s: %q, %v", id, data, err)
		}
		before = data
		cached, err := filepath.Glob(filepath.Join(r.cache(), "pkgs", "rt-activate*", "etc", "conda", "activate.d",
			"rt-activate.sh"))
		// as if by a hard link
		if err != nil || len(cached) != 1 || os.WriteFile(cached[0], []byte("exit 1\n"), 0o600) != nil {
			t.Fatal(cached, err)
		}
	}
}

func TestRenewingSeesWhatIsNewInAChannel(t *testing.T) {
	r := realRattler(t)
	var old atomic.Bool
	old.Store(true)
	server := serve(t, func(w http.ResponseWriter, req *http.Request) bool {
		w.Header().Set("Cache-Control", "max-age=100000")
		if old.Load() && strings.HasSuffix(req.URL.Path, "noarch/repodata.json") {
			return rewritten(t, w, req, func(packages map[string]any) {
				for file := range packages {
					if strings.HasPrefix(file, "rt-lib-2") {
						delete(packages, file)
					}
				}
			})
		}
		return false
	})
	for i, want := range []string{"rt-lib-1.0", "rt-lib-2.0"} {
		job := r.job(t, server.URL, "rt-lib")
		if err := r.renew(t.Context(), r.c.uv.Tools(), job); err != nil {
			t.Fatalf("%+v", err)
		}
		if lock, _ := os.ReadFile(job.to); !strings.Contains(string(lock), want) {
			t.Errorf("%d: no %s in %s", i, want, lock)
		}
		old.Store(false)
	}
}

// rewritten answers with a channel's repodata.json after f changed its packages.
func rewritten(t *testing.T, w http.ResponseWriter, req *http.Request, f func(packages map[string]any)) bool {
	data, err := os.ReadFile(filepath.Join(channelDir(t), req.URL.Path))
	var repodata map[string]any
	if err := errors.Join(err, json.Unmarshal(data, &repodata)); err != nil {
		t.Error(err)
		return false
	}
	f(repodata["packages.conda"].(map[string]any))
	_ = json.NewEncoder(w).Encode(repodata)
	return true
}
