//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// patient is a house where all is well, with a fast stand-in for uv and nothing that depends on the machine.
func patient(t *testing.T) *house {
	t.Helper()
	h := newHouse(t).withStandIn(fastUV)
	h.setenv("UV_CACHE_DIR", filepath.Join(h.home, ".cache/uv"))
	h.configure(quickly + "1\n")
	return h
}

// doctor runs the doctor in the house, and returns what it found by name.
func (h *house) doctor(args ...string) (found map[string]rpc.Check, code int) {
	h.t.Helper()
	cmd := exec.Command(daemonProgram, append([]string{"doctor", "--json"}, args...)...)
	cmd.Env, cmd.Dir = h.env, h.home
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		h.t.Fatal(err)
	}
	return h.told(out, code), code
}

// told reads what the doctor has printed, and checks what holds for every such list.
func (h *house) told(out []byte, code int) (found map[string]rpc.Check) {
	h.t.Helper()
	var told struct {
		OK     bool
		Checks []rpc.Check
	}
	if err := json.Unmarshal(out, &told); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	found = map[string]rpc.Check{}
	bad := false
	for i, f := range told.Checks {
		if _, twice := found[f.Name]; twice || f.Name == "" || f.Message == "" {
			h.t.Errorf("check %d: %+v", i, f)
		}
		bad = bad || f.Status == rpc.CheckProblem
		found[f.Name] = f
	}
	if told.OK == bad || (code != 0) != bad || len(told.Checks) < 20 {
		h.t.Errorf("ok is %v, exit code %d: %s", told.OK, code, out)
	}
	return found
}

// sound is what nobody has to look after.
func sound(f rpc.Check) bool { return f.Status != rpc.CheckWarning && f.Status != rpc.CheckProblem }

// sick is what the doctor must find wrong: a name, a verdict, and parts of the message or the hint.
type sick struct {
	name, status string
	says         []string
}

// withoutUV leaves a Python on PATH that can fetch uv, and no uv.
func (h *house) withoutUV() {
	h.t.Helper()
	if found, err := filepath.Glob("/usr/*/bin/uv"); err == nil && len(found) > 0 || isThere("/usr/bin/uv") ||
		isThere("/opt/homebrew/bin/uv") {
		h.t.Skip("there is a uv where installers put it")
	}
	h.setenv("PATH", "/usr/bin:/bin")
	for _, name := range []string{"PIP_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL",
		"UV_DEFAULT_INDEX", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		h.setenv(name, "")
	}
}

// diagnosed fails unless exactly these things are found wrong.
func (h *house) diagnosed(found map[string]rpc.Check, wants ...sick) {
	h.t.Helper()
	for _, want := range wants {
		f := found[want.name]
		if f.Status != want.status {
			h.t.Errorf("%s is %q, want %s: %s", want.name, f.Status, want.status, f.Message)
		}
		for _, text := range append(want.says, "") {
			if !strings.Contains(f.Message+"\n"+f.Hint, text) {
				h.t.Errorf("%s does not say %q: %s\n-> %s", want.name, text, f.Message, f.Hint)
			}
		}
		if f.Hint == "" {
			h.t.Errorf("%s has no next step", want.name)
		}
	}
	for name, f := range found {
		if !sound(f) && !slices.ContainsFunc(wants, func(w sick) bool { return w.name == name }) {
			h.t.Errorf("%s is a %s too: %s", name, f.Status, f.Message)
		}
	}
}

// finds has the doctor find exactly these things wrong.
func (h *house) finds(args []string, wants ...sick) map[string]rpc.Check {
	h.t.Helper()
	found := h.examined(args, wants...)
	h.diagnosed(found, wants...)
	return found
}

// examined is what the doctor finds. A machine on which many tests run may be too slow for a look, and says so besides.
func (h *house) examined(args []string, wants ...sick) (found map[string]rpc.Check) {
	h.t.Helper()
	slow := true
	for range 6 {
		if !slow {
			break
		}
		found, _ = h.doctor(args...)
		slow = false
		for name, f := range found {
			expected := slices.ContainsFunc(wants, func(w sick) bool { return w.name == name })
			slow = slow || !expected && !sound(f) && strings.Contains(f.Message, "within 3s")
		}
	}
	return found
}

func TestTheDoctorFindsNothingWhereAllIsWellAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := patient(t)
	tmp := t.TempDir()
	h.setenv("TMPDIR", tmp)
	before := tree(t, h.home)
	found := h.finds(nil)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if after := tree(t, h.home); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	for name, text := range map[string]string{
		"config": "pools.uv.size = 1 (line 5)", "uv": "uv 0.0.0 at " + h.home + "/standin/uv: it is on PATH",
		"index":           "has ipykernel",
		"state-directory": "not there yet", "socket": "no daemon runs", "conda": "not needed",
	} {
		if !strings.Contains(found[name].Message, text) {
			t.Errorf("%s: %s", name, found[name].Message)
		}
	}

	d := h.start()
	h.filled("uv", time.Minute)
	found, _ = h.doctor("--fix")
	h.diagnosed(found)
	if want := fmt.Sprintf("held by the daemon (pid %d)", d.cmd.Process.Pid); found["lock"].Message != want {
		t.Errorf("lock: %s", found["lock"].Message)
	}
	h.pool("uv") // it still answers
}

func TestTheDoctorNamesEachBreak(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(h *house)
		want []sick
	}{
		"a configuration with a mistake": {
			func(h *house) { h.configure("[pools.uv]\nsise = 1\n") },
			[]sick{{"config", rpc.CheckProblem, []string{"config.toml:2", "sise", "unknown key", "runt config check"}}},
		},
		"a folder of one's own choice that is open": {
			func(h *house) {
				dir := filepath.Join(h.home, "envs")
				_ = os.Mkdir(dir, 0o755)
				h.setenv("RUNTIMED_CACHE_DIR", dir)
			},
			[]sick{{"state-directory", rpc.CheckProblem, []string{"/envs is open to others (mode 0755)", "chmod 700"}}},
		},
		"a file where the socket belongs": {
			func(h *house) { _ = os.MkdirAll(h.state(), 0o700); write(h, h.socket, "precious") },
			[]sick{{"socket", rpc.CheckProblem, []string{"runtimed.sock is in the way: it is not a socket",
				"move it away"}}},
		},
		"another program's socket": {
			func(h *house) { _ = os.MkdirAll(h.state(), 0o700); noisy(h) },
			[]sick{{"socket", rpc.CheckProblem, []string{"another program listens on ", "RUNTIMED_SOCKET"}}},
		},
		"a socket path that is too long": {
			func(h *house) { h.setenv("RUNTIMED_SOCKET", "/tmp/"+strings.Repeat("x", 120)) },
			[]sick{{"socket", rpc.CheckProblem, []string{"is 125 bytes long, and this system allows 1"}}},
		},
		"a uv that is not there": {
			func(h *house) { h.configure("[uv]\npath = \"/nowhere/uv\"\n" + quickly + "1\n") },
			[]sick{
				{"uv", rpc.CheckProblem, []string{"uv.path names /nowhere/uv, which is not a program"}},
				{"python", rpc.CheckSkipped, []string{"not tested: without uv"}},
				{"index", rpc.CheckSkipped, []string{"not tested: without uv"}},
			},
		},
		"a uv that is none": {
			func(h *house) { h.configure("[uv]\npath = \"/bin/sh\"\n" + quickly + "1\n") },
			[]sick{
				{"uv", rpc.CheckProblem, []string{"/bin/sh does not tell its version: it is not uv"}},
				{"python", rpc.CheckSkipped, []string{"not tested: without uv"}},
				{"index", rpc.CheckSkipped, []string{"not tested: without uv"}},
			},
		},
		"a Python that is not there": {
			func(h *house) { h.configure(quickly + "1\npython = \"/nowhere/python\"\n") },
			[]sick{{"python", rpc.CheckProblem, []string{"uv: /nowhere/python, which was asked for, is not a Python"}}},
		},
		"a Python that is too old": {
			func(h *house) { h.configure(quickly + "1\npython = \"3.6\"\n") },
			[]sick{{"python", rpc.CheckProblem, []string{"needs Python >= 3.9, and 3.6 was asked for"}}},
		},
		"an index that refuses": {
			func(h *house) {
				h.withStandIn(at("'pip compile'",
					"echo 'error: Failed to fetch: x' >&2; echo '  cause: Connection refused' >&2; exit 2"))
				h.setenv("UV_DEFAULT_INDEX", "https://me:planted@index.example/simple")
				h.setenv("HTTPS_PROXY", "http://me:planted@proxy.example:8080")
			},
			[]sick{{"index", rpc.CheckProblem, []string{
				"https://***@index.example/simple, by way of the proxy http://***@proxy.example:8080: " +
					"the package index cannot be reached",
				": Connection refused",
			}}},
		},
		"no uv, and an index that nobody serves": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "*")
				h.setenv("PIP_INDEX_URL", "http://me:planted@127.0.0.1:9/simple")
			},
			[]sick{{"index", rpc.CheckProblem,
				[]string{"uv cannot be fetched: http://***@127.0.0.1:9/simple cannot be reached", "refused",
					"check the network", "install uv"}}},
		},
		"no uv, and an index in pip's file that lacks it": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "*")
				server := httptest.NewServer(http.NotFoundHandler())
				h.t.Cleanup(server.Close)
				_ = os.MkdirAll(filepath.Join(h.home, ".config/pip"), 0o755)
				write(h, filepath.Join(h.home, ".config/pip/pip.conf"), "[global]\nindex-url = "+server.URL+"/simple\n")
			},
			[]sick{{"index", rpc.CheckProblem, []string{"uv cannot be fetched: http://127.0.0.1:",
				"the status 404 when it is asked for uv"}}},
		},
		"no uv, and an index in pip's file that refuses all": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "*")
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
					_ *http.Request) {
					w.WriteHeader(http.StatusForbidden)
				}))
				h.t.Cleanup(server.Close)
				_ = os.MkdirAll(filepath.Join(h.home, ".config/pip"), 0o755)
				write(h, filepath.Join(h.home, ".config/pip/pip.conf"), "[global]\nindex-url = "+server.URL+"/simple\n")
			},
			[]sick{{"index", rpc.CheckProblem, []string{"uv cannot be fetched: http://127.0.0.1:",
				"refuses access (status 403)", "check the user name and token"}}},
		},
		"no uv, no index but pip's own, and a dead proxy": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "")
				h.setenv("HTTPS_PROXY", "http://me:planted@127.0.0.1:9")
				h.setenv("PIP_INDEX_URL", "")
				h.setenv("PIP_CONFIG_FILE", os.DevNull)
			},
			[]sick{{"index", rpc.CheckProblem,
				[]string{"uv cannot be fetched: the proxy http://***@127.0.0.1:9 cannot be reached",
					"check the proxy"}}},
		},
		"no uv, and a dead proxy of pip's own": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "*")
				h.setenv("PIP_PROXY", "me:planted@127.0.0.1:9")
				h.setenv("PIP_INDEX_URL", "http://index.example/simple")
			},
			[]sick{{"index", rpc.CheckProblem,
				[]string{"by way of the proxy http://***@127.0.0.1:9 cannot be reached"}}},
		},
		"no uv, and an index whose certificate is not trusted": {
			func(h *house) {
				h.withoutUV()
				h.setenv("NO_PROXY", "*")
				server := testkit.ServeCertified(h.t, "authority", http.NotFoundHandler())
				h.configure("[uv]\nindex_url = \"" + server.URL + "/simple\"\n" + quickly + "1\n")
			},
			[]sick{{"index", rpc.CheckProblem, []string{"uv cannot be fetched: the certificate of https://127.0.0.1:",
				"is not trusted here", "SSL_CERT_FILE"}}},
		},
		"a conda that is not there": {
			func(h *house) {
				h.setenv("RUNTIMED_CONDA_POOL_SIZE", "1")
				h.configure("[conda]\npath = \"/nowhere/conda\"\n" + quickly +
					"1\n[pools.conda]\nchannels = [\"file://" + h.home + "\"]\n")
				_ = os.Mkdir(filepath.Join(h.home, "noarch"), 0o755)
				write(h, filepath.Join(h.home, "noarch/repodata.json"), "{}")
			},
			[]sick{{"conda", rpc.CheckProblem, []string{"conda.path names /nowhere/conda, which is not a program"}}},
		},
		"a channel that nobody serves": {
			func(h *house) {
				h.setenv("RUNTIMED_CONDA_POOL_SIZE", "1")
				h.setenv("NO_PROXY", "*")
				h.configure("[conda]\nprovider = \"rattler\"\n" + quickly +
					"1\n[pools.conda]\nchannels = [\"http://127.0.0.1:9/t/planted/c\"]\n")
			},
			[]sick{{"channels", rpc.CheckProblem, []string{"http://127.0.0.1:9/t/***/c cannot be reached", "refused"}}},
		},
		"a channel whose certificate is not trusted": {
			func(h *house) {
				h.setenv("RUNTIMED_CONDA_POOL_SIZE", "1")
				h.setenv("NO_PROXY", "*")
				h.configure("[conda]\nprovider = \"rattler\"\n" + quickly + "1\n[pools.conda]\nchannels = [\"" +
					testkit.ServeCertified(h.t, "authority", http.NotFoundHandler()).URL + "\"]\n")
			},
			[]sick{{"channels", rpc.CheckProblem, []string{"the certificate of https://127.0.0.1:",
				"is not trusted here", "SSL_CERT_FILE"}}},
		},
		"a folder of somebody else's": {
			func(h *house) { _ = os.MkdirAll(h.state("envs", "mine"), 0o700) },
			[]sick{{"strays", rpc.CheckWarning, []string{"/envs no daemon made: mine"}}},
		},
		"a HOME that is not there": {
			func(h *house) {
				h.setenv("RUNTIMED_CACHE_DIR", h.state())
				h.setenv("HOME", filepath.Join(h.home, "none"))
				h.setenv("RUNTIMED_CONFIG", filepath.Join(h.home, ".config/runt/config.toml"))
			},
			[]sick{{"environment", rpc.CheckProblem, []string{"/none, which cannot be used: no such file"}}},
		},
		"a link to nowhere": {
			func(h *house) {
				_ = os.Mkdir(filepath.Join(h.home, ".cache"), 0o700)
				_ = os.Symlink("/nowhere/at/all", h.state())
			},
			[]sick{{"state-directory", rpc.CheckProblem, []string{"a link to what is not there"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := patient(t)
			c.set(h)
			found := h.examined(nil, c.want...)
			h.diagnosed(found, c.want...)
			for _, f := range found {
				if strings.Contains(f.Message+f.Hint, "planted") {
					t.Errorf("%s tells a password: %s", f.Name, f.Message)
				}
			}
		})
	}
}

// noisy listens on the socket, and speaks something else.
func noisy(h *house) {
	h.t.Helper()
	ln, err := net.Listen("unix", h.socket)
	check(h.t, err)
	h.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 welcome\n"))
		}
	}()
}

func TestTheDoctorRepairsWhatAKilledDaemonLeft(t *testing.T) {
	t.Parallel()
	h := patient(t).withStandIn(at(stepVenv, "sleep 99.25 & : >\"$HOME/hangs\"; wait"))
	d := h.start()
	h.eventually(time.Minute, "a build hangs", func() bool { return isThere(filepath.Join(h.home, "hangs")) })
	if found, _ := h.doctor("--fix"); found["leftovers"].Fixed != "" || found["leftovers"].Status != rpc.CheckOK {
		t.Errorf("the builds of a daemon that lives: %+v", found["leftovers"])
	}
	d.kill()
	write(h, h.state("daemon.json"), "{\"pid\": ")
	check(t, os.Chmod(h.state(), 0o755))
	broken := []sick{
		{"socket", rpc.CheckWarning, []string{"nobody listens on"}},
		{"daemon-file", rpc.CheckWarning, []string{"is damaged"}},
		{"state-directory", rpc.CheckWarning, []string{"open to others (mode 0755)"}},
		{"leftovers", rpc.CheckWarning, []string{"their daemon is gone: pid "}},
	}
	found := h.finds(nil, broken...)
	if found["lock"].Message != "free: no daemon runs" || len(marked(h.home)) < 2 {
		t.Errorf("lock: %s; %d processes", found["lock"].Message, len(marked(h.home)))
	}

	found, code := h.doctor("--fix")
	h.diagnosed(found)
	for _, b := range broken {
		if found[b.name].Fixed == "" {
			t.Errorf("%s does not say what was done: %+v", b.name, found[b.name])
		}
	}
	if found["socket"].Fixed != "removed "+h.socket || code != 0 {
		t.Errorf("socket: %+v, exit code %d", found["socket"], code)
	}
	h.eventually(10*time.Second, "no process of the build is left", func() bool { return len(marked(h.home)) == 0 })
	h.finds(nil)
	if info, err := os.Stat(h.state()); err != nil || info.Mode().Perm() != 0o700 || isThere(h.socket) ||
		isThere(h.state("daemon.json")) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
