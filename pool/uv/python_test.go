package uv

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"runtimed/pool/builder"
)

func cpython(version, path string) Interpreter {
	return Interpreter{path, version, "cpython", "default"}
}

func TestTheNewestInterpreterThatWillDoIsChosen(t *testing.T) {
	all := []Interpreter{
		cpython("3.9.18", "/a"), cpython("3.12.1", "/b"), cpython("3.12.10", "/c"), cpython("3.14.0rc1", "/d"),
		cpython("3.6.15", "/e"),
		{"/f", "3.13.0", "pypy", "default"}, {"/g", "3.13.0", "cpython", "freethreaded"}, cpython("3.12.10", "/h"),
		cpython("2.7.18", "/i"),
	}
	for want, path := range map[string]string{"": "/c", "3.12": "/c", "3.12.1": "/b", "3": "/c", "3.9": "/a", "3.1": "",
		"3.13": "", "3.6": "", "3.14": ""} {
		got, ok := Choose(all, want)
		if ok != (path != "") || got.Path != path {
			t.Errorf("%q: %+v, %t", want, got, ok)
		}
	}
	if i := cpython("3.12.10", ""); i.minor() != "3.12" {
		t.Error(i.minor())
	}
}

func TestWhereNoPythonWillDoTheReasonIsTold(t *testing.T) {
	const old = `[{"path":"/usr/bin/python3.6","version":"3.6.15","implementation":"cpython","variant":"default"}]`
	for _, c := range []struct{ name, pythons, want, message string }{
		{"only an old one", old, "",
			"needs Python >= 3.9, found 3.6.15 at /usr/bin/python3.6, and uv could not fetch one"},
		{"none at all", "[]", "", "needs Python >= 3.9, found none, and uv could not fetch one"},
		{"not that version", old, "3.12",
			"needs Python 3.12, found 3.6.15 at /usr/bin/python3.6, and uv could not fetch one"},
		{"that version is too old", old, "3.6", "needs Python >= 3.9, and 3.6 was asked for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStandin(t)
			s.Write("pythons", c.pythons)
			s.Write("fail.install", "error: Failed to download https://host/python.tar.gz")
			_, _, err := s.build(builder.Spec{Kind: builder.KindUV, Python: c.want, Packages: []string{"ipykernel"}})
			if got := causeAndMessage(err); got != builder.CausePythonMissing+": "+c.message {
				t.Error(got)
			}
		})
	}
}

func TestUVFetchesAPythonWhereThereIsNone(t *testing.T) {
	s := newStandin(t)
	s.Write("pythons.fetched", s.Took("pythons"))
	s.Write("pythons", "[]")
	dir := filepath.Join(s.State, "envs", "uv-01234567")
	var said []string
	_, err := s.Build(t.Context(), wanting("ipykernel"), dir, func(s builder.Stage) { said = append(said, s.Message) })
	if err != nil || !strings.Contains(strings.Join(said, "\n"), "fetching Python 3.13") {
		t.Errorf("%v, %q", err, said)
	}
	if got := s.Calls(dir); !strings.HasPrefix(got,
		"--version\n"+strings.Repeat("python list --only-installed --output-format json\n", 2)+
			"python install 3.13\npython list") {
		t.Error(got)
	}
}

func TestAPythonCanBeNamedByItsPath(t *testing.T) {
	s := newStandin(t)
	python := s.Program("python")
	for version, want := range map[string]string{
		"3.13.1": "",
		"3.8.1":  "python_missing: needs Python >= 3.9, found 3.8.1 at " + python,
		"hello":  "python_missing: " + python + ", which was asked for, is not a Python that can be run",
	} {
		s.Write("version", version+"\n")
		dir, _, err := s.build(builder.Spec{Kind: builder.KindUV, Python: python, Packages: []string{"ipykernel"}})
		if err != nil && causeAndMessage(err) != want || (err == nil) != (want == "") {
			t.Errorf("%s: %v", version, err)
		}
		if got := s.Calls(dir); strings.Contains(got, "python list") {
			t.Errorf("others were looked for: %s", got)
		}
	}
	gone := s.Program("gone")
	_, _, err := s.build(builder.Spec{Kind: builder.KindUV, Python: gone})
	if got := causeAndMessage(err); got != "python_missing: "+gone+
		", which was asked for, is not a Python that can be run" {
		t.Error(got)
	}
}

func TestInterpretersAreListedAgainWhenOneIsGone(t *testing.T) {
	s := newStandin(t)
	if _, _, err := s.build(wanting("a")); err != nil {
		t.Fatal(err)
	}
	s.Calls("-")
	list := s.Took("pythons")
	s.Script("python3.14", "python.sh")
	s.Write("pythons", strings.ReplaceAll(list, strconv.Quote(s.Program("python")),
		strconv.Quote(s.Program("python3.14"))))
	s.pythons[""] = Interpreter{Path: s.Program("gone")}
	dir, _, err := s.build(wanting("a"))
	if got := s.Calls(dir); err != nil || !strings.HasPrefix(got, "python list") ||
		!strings.Contains(got, "--python BIN/python3.14 ENV") {
		t.Errorf("%v: %s", err, got)
	}
}

func TestTheScriptOfAVersionManagerIsReplacedByWhatItRuns(t *testing.T) {
	s := newStandin(t)
	s.Script("python3.12", "python.sh")
	s.Write("version", "3.12.1\n"+s.Program("python3.12")+"\n")
	dir, _, err := s.build(wanting("a"))
	if got := s.Calls(dir); err != nil ||
		!strings.Contains(got, "venv --no-project --no-python-downloads --python BIN/python3.12 ENV") {
		t.Errorf("%v: %s", err, got)
	}
}
