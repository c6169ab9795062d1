package service

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/internal/testkit"

	"github.com/google/go-cmp/cmp"
)

func windowsConfig() Config {
	return Config{
		Program: `C:\Users\Zoë & Co\AppData\Local\Programs\runt\runtimed.exe`, Socket: `\\.\pipe\runtimed-zoë`,
		Vars: []Var{{"RUNTIMED_CONFIG", `C:\a "b"\c d.toml`}, {"XDG_CACHE_HOME", "/c"},
			{"RUNTIMED_CACHE_DIR", `D:\with space\`}},
	}
}

func TestTheTaskIsWhatItWas(t *testing.T) {
	f, err := task("x", `HOST\Zoë`, windowsConfig())
	testkit.Check(t, err)
	golden(t, "task.xml", f.Text())
	body := strings.Replace(f.Text(), `encoding="UTF-16"`, `encoding="UTF-8"`, 1)
	var parsed struct {
		Command   string `xml:"Actions>Exec>Command"`
		Arguments string `xml:"Actions>Exec>Arguments"`
	}
	testkit.Check(t, xml.Unmarshal([]byte(body), &parsed))
	if parsed.Command != windowsConfig().Program {
		t.Errorf("the program is %q", parsed.Command)
	}
	if want := `run "--config=C:\a \"b\"\c d.toml" "--cache-dir=D:\with space\\"`; parsed.Arguments != want {
		t.Errorf("the arguments are %s, want %s", parsed.Arguments, want)
	}
	if f.Data[0] != 0xff || f.Data[1] != 0xfe || !strings.Contains(string(f.Data), "\r\x00\n\x00") {
		t.Error("the file is no UTF-16 with a mark and the line ends of Windows")
	}
}

func TestATaskFromInstallToUninstall(t *testing.T) {
	bin, err := filepath.Abs("testdata/bin")
	testkit.Check(t, err)
	dir := t.TempDir()
	t.Chdir(dir) // on this system, a path of Windows is a name
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("TASKS", dir)
	env := map[string]string{"USERNAME": "Zoë", "USERDOMAIN": "HOST", "LOCALAPPDATA": filepath.Join(dir, "local")}
	m := &scheduler{person{env: func(name string) string { return env[name] }, run: Commands{}}}
	c := windowsConfig()
	status := func(want Status) {
		t.Helper()
		want.Manager = "schtasks"
		got, err := m.Status(t.Context(), c)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	status(Status{})
	take(t, "install")(m.Install(t.Context(), c))
	running := Status{Installed: true, Enabled: true, Running: true, UpToDate: true}
	status(running)
	if !m.Serves(c.Socket) || m.Serves(`\\.\pipe\another`) {
		t.Error("the task is not known by its pipe")
	}
	if n := take(t, "install again")(m.Install(t.Context(), c)); n > 0 {
		t.Errorf("there are %d steps to do what is done", n)
	}
	c.Vars = nil
	take(t, "upgrade")(m.Install(t.Context(), c))
	status(running)
	take(t, "restart")(m.Restart(t.Context()))
	take(t, "stop")(m.Stop(t.Context()))
	status(Status{Installed: true, Enabled: true, UpToDate: true})
	take(t, "start")(m.Start(t.Context()))
	status(running)
	c.OnDemand = true
	take(t, "on demand")(m.Install(t.Context(), c))
	if text, err := os.ReadFile("task"); err != nil || strings.Contains(string(text), "LogonTrigger") {
		t.Errorf("%v: it still starts at logon:\n%s", err, text)
	}
	take(t, "uninstall")(m.Uninstall(t.Context()))
	status(Status{})
	if n := take(t, "uninstall again")(m.Uninstall(t.Context())); n > 0 {
		t.Errorf("there are %d steps to remove what is not there", n)
	}
}
