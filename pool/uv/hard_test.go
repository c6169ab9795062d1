package uv

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// more is spec with one more package, beside the pool of spec.
func more(like builder.Spec, name string) builder.Spec {
	spec := like
	spec.Packages, spec.Base = append(slices.Clone(like.Packages), name), &like
	return spec
}

// compiled are the calls of pip compile since the last time, as how each asked, and what then stands in the lock file.
func (s *standin) compiled(spec builder.Spec, age time.Duration) (how []string, lock string, err error) {
	s.Helper()
	_, err = s.Prepare(s.Context(), spec, "-", age, func(builder.Stage) {})
	for line := range strings.Lines(s.Calls("nowhere")) {
		switch {
		case !strings.HasPrefix(line, "pip compile"):
		case strings.Contains(line, "--offline"):
			how = append(how, "offline")
		default:
			how = append(how, "online")
		}
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "needs", "*.txt"))
	for _, l := range locks {
		data, _ := os.ReadFile(l)
		lock += string(data)
	}
	return how, lock, err
}

func TestWhatTheCacheKnowsIsEnoughOnlyWhereItKnowsAll(t *testing.T) {
	const network = "error: Failed to fetch: https://h/simple"
	for name, c := range map[string]struct {
		warns, offline, online string
		how, version           string
		cause                  string
	}{
		"it knows all": {"", "", "", "offline", "1", ""},
		"it lacks the newest": {"WARN `x==2` needs to be downloaded from a registry\n", "", "",
			"offline online", "2", ""},
		"and there is no network": {"WARN `x==2` needs to be downloaded from a registry\n", "", network,
			"offline online", "1", ""},
		"and the index says that they do not": {"WARN `x==2` needs to be downloaded\n", "", "No solution found",
			"offline online", "", builder.CauseUnsatisfiable},
		"it knows nothing": {"", "x was not found in the cache", "", "offline online", "2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			for file, text := range map[string]string{"warn.offline": c.warns, "fail.compile.offline": c.offline,
				"fail.compile.online": c.online} {
				if text != "" {
					s.Write(file, text)
				}
			}
			how, lock, err := s.compiled(more(wanting("ipykernel"), "x"), time.Hour)
			if strings.Join(how, " ") != c.how || builder.CauseOf(err) != c.cause ||
				c.version != "" && !strings.Contains(lock, "resolved "+c.version) {
				t.Errorf("%q, %q, %v", how, lock, err)
			}
			if got := s.Took("preferred"); got != "" {
				t.Errorf("preferred %q, and the pool has no lock file", got)
			}
		})
	}
}

func TestLockFilesOfNeedsFollowTheIndexAndThePool(t *testing.T) {
	s := newStandin(t)
	home := wanting("ipykernel")
	if _, _, err := s.build(home); err != nil {
		t.Fatal(err)
	}
	s.Calls("nowhere")
	expect := func(what, want, version string) {
		t.Helper()
		how, lock, err := s.compiled(more(home, "x"), 24*time.Hour)
		if err != nil || strings.Join(how, " ") != want || !strings.Contains(lock, "resolved "+version) {
			t.Errorf("%s: %q, %q, %v", what, how, lock, err)
		}
	}
	expect("the first time", "offline", "1")
	expect("again", "", "1")
	needs, _ := filepath.Glob(filepath.Join(s.State, "locks", "needs", "*.txt"))
	old := time.Now().Add(-25 * time.Hour)
	testkit.Check(t, os.Chtimes(needs[0], old, old))
	s.Write("fail.compile.online", "error: Failed to fetch")
	expect("a day later, without a network", "online", "1")
	expect("and once more", "offline", "1") // the pool's is younger
	s.Remove("fail.compile.online")
	testkit.Check(t, os.Chtimes(needs[0], old, old))
	expect("with one", "online", "2")
	s.Took("preferred")
	pools, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
	soon := time.Now().Add(time.Minute)
	testkit.Check(t, errors.Join(os.WriteFile(pools[0], []byte("ipykernel==8\n"), 0o600),
		os.Chtimes(pools[0], soon, soon)))
	expect("after the pool's was renewed", "offline", "1")
	if got := s.Took("preferred"); got != "ipykernel==8\n" {
		t.Errorf("preferred %q", got)
	}
}

func TestAnEnvironmentThatLacksAPackageIsNotWhole(t *testing.T) {
	s := newStandin(t)
	dir, built, err := s.build(wanting("ipykernel"))
	soon := time.Now().Add(time.Minute)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, envdir.ManifestName), nil, 0o600),
			os.Chtimes(filepath.Join(dir, envdir.ManifestName), soon, soon))
	}
	testkit.Check(t, err)
	if err := s.Verify(t.Context(), built, dir); err != nil {
		t.Error(err)
	}
	site := filepath.Join(dir, testkit.Site)
	testkit.Check(t, os.Rename(filepath.Join(site, "Some.Thing-1.0rc1.dist-info"),
		filepath.Join(site, "Some.Thing-2.dist-info")))
	if err := s.Verify(t.Context(), built, dir); err == nil || !strings.Contains(err.Error(), "some-thing 1.0rc1") {
		t.Error(err)
	}
	built.Packages = built.Packages[:2]
	if err := s.Verify(t.Context(), built, dir); err == nil ||
		!strings.Contains(err.Error(), "some-thing 2 was added") {
		t.Error(err)
	}
}

func TestAPythonThatIsNamedByItsPathIsThatOne(t *testing.T) {
	s := newStandin(t)
	s.Write("version", "3.13.1\n")
	other := t.TempDir()
	for name, from := range map[string]string{"python" + testkit.Exe: "python" + testkit.Exe, "version": "version"} {
		data, err := os.ReadFile(filepath.Join(s.Bin, from))
		testkit.Check(t, err)
		testkit.WriteProgram(t, filepath.Join(other, name), data)
	}
	for _, c := range []struct{ like, python, want string }{
		{"", filepath.Join(other, "python"+testkit.Exe), ""}, // of the same version
		{"", s.Program("python"), "3.13.1"},
		{filepath.Join(other, "python"+testkit.Exe), filepath.Join(other, "python"+testkit.Exe), "3.13.1"},
		{filepath.Join(other, "python"+testkit.Exe), "3.13", "3.13.1"}, // the pool's will do
	} {
		home := wanting("ipykernel")
		home.Python = c.like
		sp := more(home, "x")
		sp.Python = c.python
		if got, err := s.Prepare(t.Context(), sp, "-", 0, func(builder.Stage) {}); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
		if c.python == "3.13" && strings.Contains(s.Calls("nowhere"), s.Program("python")) {
			t.Error("it is another Python than the pool's")
		}
	}
}

func TestAPythonThatIsTooOldIsNotFetched(t *testing.T) {
	s := newStandin(t)
	sp := more(wanting("ipykernel"), "x")
	sp.Python = "<3.9"
	_, err := s.Prepare(t.Context(), sp, "-", 0, func(builder.Stage) {})
	if got := causeAndMessage(err); got != builder.CausePythonMissing+": needs Python >= 3.9, and <3.9 was asked for" {
		t.Error(got)
	}
	if got := s.Calls("nowhere"); strings.Contains(got, "python install") {
		t.Error(got)
	}
}
