//go:build e2e && unix

package conda

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// answering is a channel over http that answers requests for paths that end so in its own way.
func answering(t *testing.T, suffix string, answer http.HandlerFunc) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		answer(w, r)
		return true
	}).URL
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// changed answers with the channel's file after f changed it.
func changed(t *testing.T, f func([]byte) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(channelDir(t), r.URL.Path))
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(f(data))
	}
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// halfway sends the beginning of a file, and nothing more.
func halfway(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		info, err := os.Stat(filepath.Join(channelDir(t), r.URL.Path))
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(info.Size()))
		_, _ = w.Write([]byte("PK"))
		w.(http.Flusher).Flush()
		silent(w, r)
	}
}

func TestTheCauseOfAFailureIsTold(t *testing.T) {
	local := channelDir(t)
	flip := func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b }
	half := func(b []byte) []byte { return b[:len(b)/2] }
	other := func([]byte) []byte {
		data, err := os.ReadFile(filepath.Join(local, "noarch", "rt-lib-1.0-0.conda"))
		if err != nil {
			t.Error(err)
		}
		return data
	}
	noNoarch := t.TempDir()
	replaced, incomplete := filepath.Join(t.TempDir(), "channel"), filepath.Join(t.TempDir(), "channel")
	testkit.Check(t, errors.Join(
		os.CopyFS(filepath.Join(noNoarch, "linux-64"), os.DirFS(filepath.Join(local, "linux-64"))),
		os.CopyFS(replaced, os.DirFS(local)),
		os.WriteFile(filepath.Join(replaced, "noarch", "rt-lib-2.0-0.conda"), other(nil), 0o600),
		os.CopyFS(incomplete, os.DirFS(local)), os.Remove(filepath.Join(incomplete, "noarch", "rt-lib-2.0-0.conda")),
	))
	const (
		archive     = "rt-activate-1.0-0.tar.bz2"
		unsolvable  = "the packages cannot be installed together"
		unusable    = "one of the pool's channels cannot be used"
		unreachable = "a channel cannot be reached"
		gone        = "a channel does not have what it lists"
		refused     = "a channel refused access"
		damaged     = "what a channel sent is damaged"
		starved     = "sent nothing of rt-activate for 1 s"
	)
	at := func(suffix string, answer http.HandlerFunc) string { return answering(t, suffix, answer) }
	for name, c := range map[string]struct {
		channel string
		specs   []string
		cause   string
		message string
		output  string
		blamed  string
	}{
		"no such package": {
			local, []string{"no-such-package"}, builder.CausePackageNotFound,
			"the package no-such-package is not in the channels",
			"No candidates", "no-such-package",
		},
		"no such packages": {
			local, []string{"no-such >=1", "rt-lib", "nor-this"}, builder.CausePackageNotFound,
			"the packages no-such, nor-this are not in the channels",
			"", "no-such",
		},
		"no such spec": {
			local, []string{"rt-lib>=>9"}, builder.CauseOther,
			`"rt-lib>=>9" is written in a way that rattler cannot read`, ">=>9", "rt-lib>=>9",
		},
		"no such spec, with a password": {
			local, []string{"rt-lib[url=http://al:zz9@h/x, foo"}, builder.CauseOther,
			`"rt-lib[url=http://***@h/x, foo" is written in a way`,
			"", "rt-lib[url=http://***@h/x, foo",
		},
		"a package's file is gone": {incomplete, []string{"rt-lib"}, builder.CauseNetwork, gone, "rt-lib-2.0-0.conda",
			""},
		"two logins": {
			"http://a:b@127.0.0.1:9 http://c:d@127.0.0.1:8", []string{"python"}, builder.CauseOther, unusable,
			"different credentials", "",
		},
		"broken dependency": {local, []string{"rt-broken"}, builder.CauseUnsatisfiable, unsolvable, "rt-does-not-exist",
			""},
		"no such version": {local, []string{"rt-lib>=9"}, builder.CauseUnsatisfiable, unsolvable, "rt-lib >=9", ""},
		"no such channel": {"htp:/x", []string{"python"}, builder.CauseOther, unusable, "htp:/x", ""},
		"no noarch": {noNoarch, []string{"python"}, builder.CauseOther, "is not a conda channel: it has no noarch",
			"", ""},
		"dead port": {"http://127.0.0.1:9", []string{"python"}, builder.CauseNetwork, unreachable,
			"Connection refused", ""},
		"no such host": {"http://channel.invalid", []string{"python"}, builder.CauseNetwork, unreachable,
			"channel.invalid", ""},
		"server error": {at("repodata.json", status(503)), []string{"python"}, builder.CauseNetwork, unreachable,
			"503", ""},
		"package gone":    {at(archive, status(404)), []string{"rt-activate"}, builder.CauseNetwork, gone, "404", ""},
		"refused":         {at("", status(401)), []string{"python"}, builder.CauseAuth, refused, "401", ""},
		"refused package": {at(archive, status(403)), []string{"rt-activate"}, builder.CauseAuth, refused, "403", ""},
		"flipped bytes": {at("rt-postlink-1.0-0.conda", changed(t, flip)), []string{"rt-postlink"},
			builder.CauseCorrupt, damaged, "rt-postlink", ""},
		"half a package": {at(archive, changed(t, half)), []string{"rt-activate"}, builder.CauseCorrupt, damaged,
			"rt-activate", ""},
		"another package": {at("rt-lib-2.0-0.conda", changed(t, other)), []string{"rt-lib"}, builder.CauseCorrupt,
			damaged, "rt-lib", ""},
		"another file": {replaced, []string{"rt-lib"}, builder.CauseCorrupt, damaged, "hash mismatch of file://",
			""},
		"half a repodata": {at("repodata.json", changed(t, half)), []string{"python"}, builder.CauseCorrupt, damaged,
			"repodata.json", ""},
		"silent": {at("repodata.json", silent), []string{"python"}, builder.CauseTimeout,
			"did not answer in full within 2 s", "", ""},
		"silent package":  {at(archive, silent), []string{"rt-activate"}, builder.CauseTimeout, starved, "", ""},
		"silent half way": {at(archive, halfway(t)), []string{"rt-activate"}, builder.CauseTimeout, starved, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := realRattler(t)
			if c.cause == builder.CauseTimeout { // the others take their time to try again
				r.fetch, r.stall = 2*time.Second, time.Second
			}
			job := r.job(t, "", c.specs...)
			job.channels = strings.Fields(c.channel)
			began := time.Now()
			b := buildError(t, r.create(t.Context(), r.Env("a"), job))
			if b.Cause != c.cause || b.Package != c.blamed || b.Hint == "" ||
				!strings.Contains(b.Message, c.message) || !strings.Contains(b.Output, c.output) {
				t.Errorf("%#v", b)
			}
			t.Logf("%s: %s (%s)", time.Since(began).Round(time.Millisecond), b, b.Hint)
		})
	}
}

func TestAPathThatIsTooLongForPackagesIsTold(t *testing.T) {
	r := realRattler(t)
	dir := r.Env(strings.Repeat("a", 200))
	if len(dir) < 256 {
		dir = filepath.Join(filepath.Dir(dir), strings.Repeat("b", 100), filepath.Base(dir))
	}
	b := buildError(t, r.create(t.Context(), dir, r.job(t, channelDir(t), "python")))
	if b.Message != "the path of the environment is longer than conda packages allow" ||
		!strings.Contains(b.Hint, "cache_dir") {
		t.Errorf("%+v", b)
	}
}

func TestAFullDiskIsTold(t *testing.T) {
	for name, at := range map[string]func(*rattler) string{
		"packages":    (*rattler).cache,
		"environment": func(r *rattler) string { return filepath.Join(r.c.dir, "envs") },
	} {
		t.Run(name, func(t *testing.T) {
			r := realRattler(t)
			testkit.Check(t, os.MkdirAll(at(r), 0o700))
			testkit.MountTmpfs(t, at(r), "5m")
			if b := buildError(t,
				r.create(t.Context(), r.Env("a"),
					r.job(t, channelDir(t), "python"))); b.Cause != builder.CauseDiskFull || b.Hint == "" {
				t.Errorf("%#v", b)
			}
		})
	}
}

func TestAReadOnlyCacheIsTold(t *testing.T) {
	r := realRattler(t)
	testkit.Check(t, os.MkdirAll(filepath.Join(r.cache(), "pkgs"), 0o700))
	// not by its mode: nothing is read-only for root then
	testkit.MountTmpfs(t, filepath.Join(r.cache(), "pkgs"), "1m", testkit.MountReadOnly)
	if b := buildError(t,
		r.create(t.Context(), r.Env("a"), r.job(t, channelDir(t), "rt-activate"))); b.Cause != builder.CausePermission {
		t.Errorf("%#v", b)
	}
}

func TestALockFileThatCannotBeReadIsTold(t *testing.T) {
	r := realRattler(t)
	for _, text := range []string{"x",
		"version: 6\nenvironments:\n  default:\n    channels: []\n    packages: {}\npackages: []\n"} {
		job := r.job(t, channelDir(t), "python")
		job.from, job.to = filepath.Join(t.TempDir(), "lock"), ""
		testkit.Check(t, os.WriteFile(job.from, []byte(text), 0o600))
		b := buildError(t, r.create(t.Context(), r.Env("a"), job))
		if b.Cause != builder.CauseCorrupt {
			t.Errorf("%#v", b)
		}
	}
}

func TestCredentialsInAChannelsURLStayInTheConfiguration(t *testing.T) {
	const secret = "pass%20word-zz9"
	r := realRattler(t)
	server := serve(t, func(w http.ResponseWriter, req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		if user == "al@home" && password == "pass word-zz9" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	for url, works := range map[string]bool{
		server.URL: false,
		strings.Replace(server.URL, "://", "://al%40home:"+secret+"x@", 1): false,
		strings.Replace(server.URL, "://", "://al%40home:"+secret+"@", 1):  true,
	} {
		job := r.job(t, url, "rt-activate")
		b := buildError(t, r.create(t.Context(), r.Env("a"), job))
		if works {
			if b.Cause != builder.CauseVerifyFailed { // it has no Python, which is all that is wrong with it
				t.Fatalf("%#v", b)
			}
			noneHas(t, filepath.Dir(job.to), "word-zz9")
			job.from, job.to = job.to, ""
			testkit.Check(t, errors.Join(os.RemoveAll(r.Env("a")),
				os.RemoveAll(filepath.Join(r.cache(), "pkgs"))))
			if b := buildError(t, r.create(t.Context(), r.Env("a"), job)); b.Cause != builder.CauseVerifyFailed {
				t.Errorf("the same from the lock file: %#v", b)
			}
		} else if b.Cause != builder.CauseAuth || strings.Contains(fmt.Sprintf("%#v", b), "zz9") {
			t.Errorf("%#v", b)
		}
	}
	if records, _ := filepath.Glob(filepath.Join(r.Env("a"), "conda-meta", "rt-activate-*.json")); len(records) != 1 {
		t.Errorf("installed are %v", records)
	}
	noneHas(t, r.c.dir, "word-zz9")
	if left, _ := filepath.Glob(filepath.Join(r.cache(), ".auth*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// noneHas fails the test for each file below dir that holds text.
func noneHas(t *testing.T, dir, text string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Error(files, err)
	}
}
