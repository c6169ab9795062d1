// The launchctl of these tests is a script.

//go:build unix

package service

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"runtimed/internal/testkit"

	"github.com/google/go-cmp/cmp"
)

func TestPropertyListsAreWhatTheyWere(t *testing.T) {
	demand := plain()
	demand.OnDemand = true
	for name, c := range map[string]Config{"plain": plain(), "odd": strange(), "demand": demand} {
		f, err := plist("/p", c)
		testkit.Check(t, err)
		golden(t, name+".plist", string(f.Data))
		if err := xml.Unmarshal(f.Data, new(struct{})); err != nil {
			t.Errorf("%s: no XML: %v", name, err)
		}
	}
	c := plain()
	c.Program = "/a\x01b"
	if _, err := plist("/p", c); err == nil {
		t.Error("a control character is taken")
	}
}

// apple is a Mac: its launchctl is a stand-in, on PATH before any other.
func apple(t *testing.T) (*launchd, string) {
	t.Helper()
	bin, err := filepath.Abs("testdata/bin")
	testkit.Check(t, err)
	state, home := t.TempDir(), filepath.Join(t.TempDir(), "zoë & co")
	testkit.Check(t, os.Mkdir(home, 0o700))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("LAUNCHD", state)
	env := func(name string) string { return map[string]string{"HOME": home, "HTTPS_PROXY": "x"}[name] }
	return &launchd{person{env, os.Getuid(), Commands{}}}, state
}

func have(t *testing.T, state, name string) {
	t.Helper()
	testkit.Check(t, os.WriteFile(filepath.Join(state, name), nil, 0o600))
}

func TestAnAgentFromInstallToUninstall(t *testing.T) {
	m, state := apple(t)
	c := strange()
	c.Log = filepath.Join(m.env("HOME"), "Library/Caches/runt/runtimed.log")
	status := func(want Status) {
		t.Helper()
		want.Manager = "launchd"
		got, err := m.Status(t.Context(), c)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	status(Status{})
	have(t, state, "disabled") // by somebody, some time ago
	have(t, state, "busy")
	take(t, Commands{}, "install")(m.Install(t.Context(), c))
	running := Status{Installed: true, Enabled: true, Running: true, PID: 4242, UpToDate: true}
	status(running)
	if _, err := os.Stat(filepath.Dir(c.Log)); err != nil {
		t.Error("the folder of the log is not made: ", err)
	}
	if n := take(t, Commands{}, "install again")(m.Install(t.Context(), c)); n > 0 {
		t.Errorf("there are %d steps to do what is done", n)
	}
	if got := strings.Join(m.Lacks(t.Context()), " "); got != "HTTPS_PROXY" {
		t.Errorf("a service lacks %q", got)
	}
	if m.Serves(c.Socket) {
		t.Error("an agent that listens beside its log is known by another socket")
	}
	if !m.Serves(filepath.Join(filepath.Dir(c.Log), "runtimed.sock")) {
		t.Error("the agent is not known by its socket")
	}

	have(t, state, "slow") // bootout says 36 from here on
	c.Vars = append(c.Vars, Var{"RUNTIMED_SOCKET", c.Socket})
	take(t, Commands{}, "upgrade")(m.Install(t.Context(), c))
	status(running)
	if !m.Serves(c.Socket) {
		t.Error("the agent is not known by its socket")
	}
	take(t, Commands{}, "restart")(m.Restart(t.Context()))
	status(running)
	take(t, Commands{}, "stop")(m.Stop(t.Context()))
	status(Status{Installed: true, Enabled: true, UpToDate: true})
	if n := take(t, Commands{}, "stop again")(m.Stop(t.Context())); n > 0 {
		t.Errorf("there are %d steps to stop what is stopped", n)
	}
	take(t, Commands{}, "start")(m.Start(t.Context()))
	take(t, Commands{}, "start again")(m.Start(t.Context()))
	status(running)
	take(t, Commands{}, "uninstall")(m.Uninstall(t.Context()))
	status(Status{})
	if n := take(t, Commands{}, "uninstall again")(m.Uninstall(t.Context())); n > 0 {
		t.Errorf("there are %d steps to remove what is not there", n)
	}
}

func TestAnAgentOnDemandWaitsForItsStart(t *testing.T) {
	m, _ := apple(t)
	c := plain()
	c.Log, c.OnDemand = filepath.Join(m.env("HOME"), "runtimed.log"), true
	take(t, Commands{}, "install")(m.Install(t.Context(), c))
	if s, err := m.Status(t.Context(), plain()); err != nil || s.Running || !s.OnDemand || s.Enabled {
		t.Errorf("%v: %+v", err, s)
	}
	take(t, Commands{}, "start")(m.Start(t.Context()))
	if s, err := m.Status(t.Context(), plain()); err != nil || !s.Running {
		t.Errorf("%v: %+v", err, s)
	}
}

func TestWithoutAGraphicalLoginThereIsNoAgent(t *testing.T) {
	m, state := apple(t)
	have(t, state, "nogui")
	p, ok := m.Check(t.Context()).(*Problem)
	if !ok || !strings.Contains(p.Message, "no graphical session") || !strings.Contains(p.Hint, "runt daemon start") {
		t.Errorf("%+v", p)
	}
	if s, err := m.Status(t.Context(), plain()); err != nil || s.Trouble == nil {
		t.Errorf("%v: %+v", err, s)
	}
}

func TestWhatNeverComesRightFailsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &launchd{person{env: os.Getenv}}
		never := answers{"launchctl enable": {},
			"launchctl bootstrap": {Code: 5, Stderr: "Bootstrap failed: 5: Input/output error"}}
		began := time.Now()
		p, ok := Do(t.Context(), never, m.enter(), func(Step) {}).(*Problem)
		if !ok || !strings.Contains(p.Message, "exit code 5") || !strings.Contains(p.Output, "Input/output error") {
			t.Errorf("%+v", p)
		}
		if took := time.Since(began); took < againTime || took > 2*againTime {
			t.Errorf("it was tried for %s", took)
		}
	})
}
