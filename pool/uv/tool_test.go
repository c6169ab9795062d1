package uv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func (s *standin) findIt() (string, error) {
	return s.Find(s.Context(), s.Tools(), func(builder.Stage) {})
}

func TestUVIsFoundWhereItIs(t *testing.T) {
	s := newStandin(t)
	home := tool.Lookup(s.Environ, "HOME")
	onPath := s.Program("uv")
	local := filepath.Join(home, ".local", "bin", "uv")
	testkit.Check(t, os.MkdirAll(filepath.Dir(local), 0o700))
	want := func(path string) {
		t.Helper()
		if got, err := s.findIt(); err != nil || got != path {
			t.Errorf("%s, %v", got, err)
		}
	}
	want(onPath)
	testkit.WriteProgram(t, local, []byte("#!/bin/sh\n"))
	want(onPath)
	s.Remove("uv")
	want(local)
	named := s.Program("named")
	testkit.WriteProgram(t, named, []byte("#!/bin/sh\n"))
	s.Configure(Config{Path: named})
	want(named)
	s.Remove("named")
	_, err := s.findIt()
	if got := causeAndMessage(err); got != "tool_missing: uv.path names "+named+
		", which is not a program that can be run" {
		t.Error(got)
	}
	s.Configure(Config{})
	testkit.Check(t, os.Chmod(local, 0o600))
	s.Elsewhere = []string{s.Bin}
	s.Script("uv", "uv.sh")
	s.Environ = []string{"PATH=relative:/nowhere", "HOME=" + home}
	want(onPath)
}

func TestAProgramNamedUVThatCannotBeUsedIsPassedOver(t *testing.T) {
	home := t.TempDir()
	s := newStandin(t, "HOME="+home)
	s.Environ = append(s.Environ, "PATH="+s.Bin+":/usr/bin:/bin", "HOME="+home)
	testkit.WriteProgram(t, s.Program("uv"),
		[]byte("#!/bin/sh\necho 'shim: uv: command not found' >&2\nexit 127\n"))
	local := filepath.Join(home, ".local", "bin", "uv")
	testkit.Check(t, os.MkdirAll(filepath.Dir(local), 0o700))
	testkit.WriteProgram(t, local, []byte("#!/bin/sh\n"))
	if got, err := s.findIt(); err != nil || got != local {
		t.Errorf("%s, %v", got, err)
	}
}

// fetching has no uv, and a Python that may fetch it.
func fetching(t *testing.T, environ ...string) *standin {
	t.Helper()
	s := newStandin(t, environ...)
	s.Remove("uv")
	s.Environ = append(s.Environ, "PATH="+testkit.Path(s.Bin, testkit.Toolbox(t)))
	s.Script("python3", "python.sh")
	if runtime.GOOS == "windows" {
		s.Remove("python") // which would come first
	}
	return s
}

func TestUVIsFetchedByWayOfPythonAndKept(t *testing.T) {
	for _, how := range []string{"with a venv", "without ensurepip"} {
		t.Run(how, func(t *testing.T) {
			env := filepath.Join(t.TempDir(), "env")
			s := fetching(t, "PIP_CACHE_DIR="+env, "PIP_USER=1", "PIP_TARGET=/decoy", "PIP_CERT=mine",
				"VIRTUAL_ENV=/decoy")
			s.Configure(Config{IndexURL: "https://mine/simple"})
			if how == "without ensurepip" {
				s.Write("fail.ensurepip", "")
			}
			var said []string
			got, err := s.Find(t.Context(), s.Tools(), func(s builder.Stage) { said = append(said, s.Message) })
			want := ProgramBelow(filepath.Join(s.State, "tools", "uv-"+Version()))
			if err != nil || got != want || !tool.Executable(want) ||
				fmt.Sprint(said) != "[fetching uv "+Version()+"]" {
				t.Errorf("%s, %v, %q", got, err, said)
			}
			data, err := os.ReadFile(env)
			testkit.Check(t, err)
			lines := strings.Split(string(data), "\n")
			for name, want := range map[string]string{
				"PIP_USER": "", "PIP_TARGET": "", "VIRTUAL_ENV": "", "PIP_CERT": "mine",
				"PIP_INDEX_URL": "https://mine/simple", proc.MarkEnv: s.Tools(),
			} {
				if got := tool.Lookup(lines, name); got != want {
					t.Errorf("%s is %q, not %q", name, got, want)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(s.State, "tools", ".fetch-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			s.Remove("python3")
			again := New(s.State, Config{}, s.Environ, zap.NewNop())
			again.Elsewhere = nil
			if got, err := again.Find(t.Context(), "",
				func(builder.Stage) { t.Error("it is fetched again") }); err != nil || got != want {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

func TestWhereUVCannotBeFetchedTheThreeWaysOutAreTold(t *testing.T) {
	for _, c := range []struct{ name, ensurepip, pip, message string }{
		{"no pip", "x", "/x/python3: No module named pip", "%s has no pip"},
		{"no network", "", "WARNING: connection broken by 'Connection refused'\nERROR: No matching distribution " +
			"found for uv", "the package index cannot be reached: nobody listens there"},
		{"another index", "", "ERROR: No matching distribution found for uv==0.13.9",
			"the package uv is not in the index"},
		{"no Python", "-", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fetching(t)
			python := s.Program("python3")
			want := "uv is not on this machine, and could not be fetched with " + python + ": " +
				strings.ReplaceAll(c.message, "%s", python)
			switch c.ensurepip {
			case "x":
				s.Write("fail.ensurepip", "")
			case "-":
				s.Remove("python3")
				want = "uv is not on this machine, and there is no Python to fetch it with"
			}
			if c.pip != "" {
				s.Write("fail.pip", c.pip)
			}
			_, err := s.findIt()
			var b *builder.Error
			if !errors.As(err, &b) || b.Cause != builder.CauseToolMissing || b.Message != want ||
				!strings.Contains(b.Hint, "three ways out: ") {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestWhatPipDoesNotTrustItIsAskedForOnceAndWhatItDoesNotReachAgain(t *testing.T) {
	for output, want := range map[string]struct{ retries, cause string }{
		"Could not fetch URL https://h/uv/: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to " +
			"get local issuer certificate": {"0", builder.CauseCertificate},
		// What real pip says of a refused or reset connection, with no retries.
		"ERROR: Could not find a version that satisfies the requirement uv==0.13.9 (from versions: none)\n" +
			"ERROR: No matching distribution found for uv==0.13.9": {"0 7", builder.CauseToolMissing},
		"": {"0", ""},
	} {
		env := filepath.Join(t.TempDir(), "env")
		ca := filepath.Join(t.TempDir(), "ca.pem")
		testkit.Check(t, os.WriteFile(ca, nil, 0o600))
		s := fetching(t, "PIP_CACHE_DIR="+env, "PIP_RETRIES=7", "SSL_CERT_FILE="+ca, "PIP_CONFIG_FILE="+os.DevNull)
		if output != "" {
			s.Write("fail.pip", output)
		}
		_, err := s.findIt()
		data, readErr := os.ReadFile(env)
		testkit.Check(t, readErr)
		var retries []string
		for line := range strings.Lines(string(data)) {
			if n, is := strings.CutPrefix(line, "PIP_RETRIES="); is {
				retries = append(retries, strings.TrimSpace(n))
			}
		}
		if got := strings.Join(retries, " "); got != want.retries || builder.CauseOf(err) != want.cause {
			t.Errorf("%q: tried with %s retries; %v", output, got, err)
		}
		if strings.Count(string(data), "PIP_CERT="+ca+"\n") != len(retries) {
			t.Errorf("pip was not told of SSL_CERT_FILE: %s", data)
		}
	}
}

func TestPipIsNotToldOfCertificatesThatAreNotThere(t *testing.T) {
	for _, file := range []string{filepath.Join(t.TempDir(), "gone.pem"), "tool_test.go"} { // tools run elsewhere
		environ := []string{"SSL_CERT_FILE=" + file, "PIP_CONFIG_FILE=" + os.DevNull}
		u := New(t.TempDir(), Config{}, environ, zap.NewNop())
		if env := u.pythonEnv(Config{}); slices.ContainsFunc(env, func(v string) bool {
			return strings.HasPrefix(v, "PIP_CERT=")
		}) {
			t.Errorf("%s: %q", file, env)
		}
	}
}

func TestAnEarlierUVAsksOnceForWhatItDoesNotTrust(t *testing.T) {
	const untrusted, network = "invalid peer certificate: UnknownIssuer", "Failed to fetch: connection reset"
	for _, c := range []struct{ version, says, arg, retries, cause string }{
		{"0.11.0", untrusted, "x", "0", builder.CauseCertificate},
		{"0.11.0", network, "x", "0 usual", builder.CauseNetwork},
		{"0.11.0", network, "--offline", "usual", builder.CauseNetwork},
		{"0.13.9", untrusted, "x", "usual", builder.CauseCertificate},
		{"0.13.9", network, "x", "usual", builder.CauseNetwork},
	} {
		s := newStandin(t)
		testkit.WriteProgram(t, s.Program("uv"), []byte("#!/bin/sh\n"+
			"[ \"$1\" = --version ] && { echo 'uv "+c.version+" (x 2026-01-01)'; exit; }\n"+
			"echo \"${UV_HTTP_RETRIES-usual}\" >> '"+s.Bin+"/tries'\necho '"+c.says+"' >&2\nexit 2\n"))
		uv, err := s.findIt()
		testkit.Check(t, err)
		_, err = s.Run(t.Context(), uv, s.Tools(), "pip", "compile", c.arg)
		got := strings.Join(strings.Fields(s.Took("tries")), " ")
		if got != c.retries || builder.CauseOf(err) != c.cause {
			t.Errorf("%+v: tried with %s retries; %v", c, got, err)
		}
	}
}

func TestWhatAKilledDaemonLeftOfItsWorkIsRemoved(t *testing.T) {
	s := newStandin(t)
	for _, dir := range []string{"tools/.fetch-1/venv", "locks/.resolve-2"} {
		testkit.Check(t, os.MkdirAll(filepath.Join(s.State, dir), 0o700))
	}
	if _, _, err := s.build(wanting("ipykernel")); err != nil {
		t.Fatal(err)
	}
	if envdir.Exists(filepath.Join(s.State, "tools/.fetch-1")) ||
		envdir.Exists(filepath.Join(s.State, "locks/.resolve-2")) {
		t.Error("it is still there")
	}
}

func TestTheRequirementsPinOneVersionByItsHashes(t *testing.T) {
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(Version()) ||
		strings.Count(uvRequirements, "--hash=sha256:") < 10 {
		t.Errorf("%s\n%s", Version(), uvRequirements)
	}
}

func TestTheHintOfAUVThatCouldNotBeFetchedNamesWhatKeptItAway(t *testing.T) {
	u := &Builder{Environ: []string{"PIP_CONFIG_FILE=" + os.DevNull}}
	for output, want := range map[string]string{
		"ERROR: Could not find a version: Max retries exceeded: " +
			"NewConnectionError: Connection refused": "check the package index and the proxy",
		"Max retries exceeded: Temporary failure in name resolution":        "check the network, the proxy",
		"certificate verify failed: unable to get local issuer certificate": "SSL_CERT_FILE",
		"ERROR: HTTP error 407 Client Error: Proxy Authentication Required": "password of the proxy",
		"OSError: [Errno 28] No space left on device":                       "free some space",
		"ERROR: Could not find a version that satisfies uv (from versions: none)\nERROR: No matching distribution " +
			"found for uv==1": "check the network, the proxy",
		"/usr/bin/python3: No module named pip": "three ways out",
	} {
		b := NotFetched([]string{"/usr/bin/python3"},
			u.PipError("/usr/bin/python3", output, testkit.ExitWith(t, "exit 1")))
		cause := builder.CauseToolMissing
		if want == builder.CertFile {
			cause = builder.CauseCertificate
		}
		if b.Cause != cause || !strings.Contains(b.Hint, want) ||
			strings.Contains(b.Hint, "install uv") != (cause == builder.CauseToolMissing) {
			t.Errorf("%s: %s: %s -> %s", output, b.Cause, b.Message, b.Hint)
		}
	}
}
