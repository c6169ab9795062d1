package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func (s *standin) findIt() (string, error) { return s.find(s.Context(), s.tools(), func(Stage) {}) }

func TestUVIsFoundWhereItIs(t *testing.T) {
	s := newStandin(t)
	home := lookup(s.environ, "HOME")
	onPath := filepath.Join(s.bin, "uv")
	local := filepath.Join(home, ".local", "bin", "uv")
	if err := os.MkdirAll(filepath.Dir(local), 0o700); err != nil {
		t.Fatal(err)
	}
	want := func(path string) {
		t.Helper()
		if got, err := s.findIt(); err != nil || got != path {
			t.Errorf("%s, %v", got, err)
		}
	}
	want(onPath)
	writeProgram(t, local, []byte("#!/bin/sh\n"))
	want(onPath)
	s.remove("uv")
	want(local)
	named := filepath.Join(s.bin, "named")
	writeProgram(t, named, []byte("#!/bin/sh\n"))
	s.Configure(UVConfig{Path: named})
	want(named)
	s.remove("named")
	_, err := s.findIt()
	if got := causeAndMessage(err); got != "tool_missing: uv.path names "+named+", which is no program that can be run" {
		t.Error(got)
	}
	s.Configure(UVConfig{})
	if err := os.Chmod(local, 0o600); err != nil {
		t.Fatal(err)
	}
	s.elsewhere = []string{s.bin}
	s.script("uv", "testdata/uv.sh")
	s.environ = []string{"PATH=relative:/nowhere", "HOME=" + home}
	want(onPath)
}

func TestAProgramNamedUVThatCannotBeUsedIsPassedOver(t *testing.T) {
	home := t.TempDir()
	s := newStandin(t, "HOME="+home)
	s.environ = append(s.environ, "PATH="+s.bin+":/usr/bin:/bin", "HOME="+home)
	writeProgram(t, filepath.Join(s.bin, "uv"), []byte("#!/bin/sh\necho 'shim: uv: command not found' >&2\nexit 127\n"))
	local := filepath.Join(home, ".local", "bin", "uv")
	if err := os.MkdirAll(filepath.Dir(local), 0o700); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, local, []byte("#!/bin/sh\n"))
	if got, err := s.findIt(); err != nil || got != local {
		t.Errorf("%s, %v", got, err)
	}
}

// fetching has no uv, and a Python that may fetch it.
func fetching(t *testing.T, environ ...string) *standin {
	t.Helper()
	s := newStandin(t, environ...)
	s.remove("uv")
	s.environ = append(s.environ, "PATH="+s.bin+":"+toolbox(t))
	s.script("python3", "testdata/python.sh")
	return s
}

func TestUVIsFetchedByWayOfPythonAndKept(t *testing.T) {
	for _, how := range []string{"with a venv", "without ensurepip"} {
		t.Run(how, func(t *testing.T) {
			env := filepath.Join(t.TempDir(), "env")
			s := fetching(t, "PIP_CACHE_DIR="+env, "PIP_USER=1", "PIP_TARGET=/decoy", "PIP_CERT=mine", "VIRTUAL_ENV=/decoy")
			s.Configure(UVConfig{IndexURL: "https://mine/simple"})
			if how == "without ensurepip" {
				s.write("fail.ensurepip", "")
			}
			var said []string
			got, err := s.find(t.Context(), s.tools(), func(s Stage) { said = append(said, s.Message) })
			want := filepath.Join(s.state, "tools", "uv-"+uvVersion(), "bin", "uv")
			if err != nil || got != want || !executable(want) || fmt.Sprint(said) != "[fetching uv "+uvVersion()+"]" {
				t.Errorf("%s, %v, %q", got, err, said)
			}
			data, err := os.ReadFile(env)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(data), "\n")
			for name, want := range map[string]string{
				"PIP_USER": "", "PIP_TARGET": "", "VIRTUAL_ENV": "", "PIP_CERT": "mine", "PIP_INDEX_URL": "https://mine/simple", MarkEnv: s.tools(),
			} {
				if got := lookup(lines, name); got != want {
					t.Errorf("%s is %q, not %q", name, got, want)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(s.state, "tools", ".fetch-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			s.remove("python3")
			again := NewUV(s.state, UVConfig{}, s.environ, zap.NewNop())
			again.elsewhere = nil
			if got, err := again.find(t.Context(), "", func(Stage) { t.Error("it is fetched again") }); err != nil || got != want {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

func TestWhereUVCannotBeFetchedTheThreeWaysOutAreTold(t *testing.T) {
	for _, c := range []struct{ name, ensurepip, pip, message string }{
		{"no pip", "x", "/x/python3: No module named pip", "%s has no pip"},
		{"no network", "", "WARNING: connection broken by 'Connection refused'\nERROR: No matching distribution found for uv", "the package index cannot be reached: nobody listens there"},
		{"another index", "", "ERROR: No matching distribution found for uv==0.13.9", "the package uv is not in the index"},
		{"no Python", "-", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fetching(t)
			python := filepath.Join(s.bin, "python3")
			want := "uv is not on this machine, and could not be fetched with " + python + ": " + strings.ReplaceAll(c.message, "%s", python)
			switch c.ensurepip {
			case "x":
				s.write("fail.ensurepip", "")
			case "-":
				s.remove("python3")
				want = "uv is not on this machine, and there is no Python to fetch it with"
			}
			if c.pip != "" {
				s.write("fail.pip", c.pip)
			}
			_, err := s.findIt()
			var b *BuildError
			if !errors.As(err, &b) || b.Cause != CauseToolMissing || b.Message != want || !strings.Contains(b.Hint, "three ways out: ") {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestWhatAKilledDaemonLeftOfItsWorkIsRemoved(t *testing.T) {
	s := newStandin(t)
	for _, dir := range []string{"tools/.fetch-1/venv", "locks/.resolve-2"} {
		if err := os.MkdirAll(filepath.Join(s.state, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.build(wanting("ipykernel")); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(s.state, "tools/.fetch-1")) || exists(filepath.Join(s.state, "locks/.resolve-2")) {
		t.Error("it is still there")
	}
}

func TestTheRequirementsPinOneVersionByItsHashes(t *testing.T) {
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(uvVersion()) || strings.Count(uvRequirements, "--hash=sha256:") < 10 {
		t.Errorf("%s\n%s", uvVersion(), uvRequirements)
	}
}

func TestTheHintOfAUVThatCouldNotBeFetchedNamesWhatKeptItAway(t *testing.T) {
	for output, want := range map[string]string{
		"ERROR: Could not find a version: Max retries exceeded: NewConnectionError: Connection refused":                            "check the package index and the proxy",
		"Max retries exceeded: Temporary failure in name resolution":                                                               "check the network, the proxy",
		"SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED)":                                                            "SSL_CERT_FILE",
		"ERROR: HTTP error 407 Client Error: Proxy Authentication Required":                                                        "password of the proxy",
		"OSError: [Errno 28] No space left on device":                                                                              "free some room",
		"ERROR: Could not find a version that satisfies uv (from versions: none)\nERROR: No matching distribution found for uv==1": "check the network, the proxy",
		"/usr/bin/python3: No module named pip":                                                                                    "three ways out",
	} {
		b := notFetched([]string{"/usr/bin/python3"}, pipError("/usr/bin/python3", output, exitWith(t, "exit 1")))
		if b.Cause != CauseToolMissing || !strings.Contains(b.Hint, want) || !strings.Contains(b.Hint, "install uv") {
			t.Errorf("%s: %s: %s -> %s", output, b.Cause, b.Message, b.Hint)
		}
	}
}
