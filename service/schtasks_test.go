package service

import (
	"context"
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

// tasks is a task scheduler as the manual of schtasks tells of it, with one task at most. Its words for a state are in
// the language of the machine, here German.
type tasks struct {
	t         *testing.T
	name, xml string
	running   bool
}

func (s *tasks) Run(_ context.Context, argv ...string) (Output, error) {
	absent := Output{Code: 1, Stderr: "FEHLER: Das System kann die angegebene Datei nicht finden.\n"}
	if len(argv) == 2 && argv[1] == "/?" {
		return Output{}, nil
	}
	if argv[0] != "schtasks" || argv[2] != "/TN" || strings.ContainsAny(argv[3], `\/:*?"<>|`) {
		s.t.Fatalf("%q", argv)
	}
	verb, options := argv[1], argv[4:]
	if verb != "/Create" && s.name != argv[3] {
		return absent, nil
	}
	switch words := verb + " " + strings.Join(options, " "); {
	case verb == "/Create" && len(options) == 3 && options[0] == "/XML" && options[2] == "/F":
		data, err := os.ReadFile(options[1])
		testkit.Check(s.t, err)
		s.name, s.xml = argv[3], fromUTF16(data)
		testkit.Check(s.t, checkTask(s.xml))
	case words == "/Query /XML":
		return Output{Stdout: s.xml}, nil
	case words == "/Query /V /FO CSV /NH":
		result := "0"
		if s.running {
			result = stillRunning
		}
		return Output{Stdout: `"HOST","\` + s.name + `","N/A","Wird ausgeführt","Nur interaktiv",` +
			`"26.11.2026 10:00:00","` + result + `","HOST\zoë","C:\a, b.exe run"` + "\r\n"}, nil
	case words == "/Run ":
		s.running = true
	case words == "/End ":
		if !s.running {
			return absent, nil
		}
		s.running = false
	case words == "/Delete /F":
		s.name, s.running = "", false
	default:
		s.t.Fatalf("%q", argv)
	}
	return Output{}, nil
}

// take is Do for a plan that must come out.
func take(t *testing.T, run Runner, what string) func([]Step, error) int {
	return func(steps []Step, err error) int {
		t.Helper()
		if err == nil {
			err = Do(t.Context(), run, steps, func(s Step) { t.Log(what+":", s) })
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return len(steps)
	}
}

func TestATaskFromInstallToUninstall(t *testing.T) {
	dir, run := t.TempDir(), &tasks{t: t}
	t.Chdir(dir) // elsewhere a path of Windows is a name
	env := map[string]string{"USERNAME": "Zoë", "USERDOMAIN": "HOST", "LOCALAPPDATA": filepath.Join(dir, "local")}
	m := &scheduler{person{env: func(name string) string { return env[name] }, run: run}}
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
	take(t, run, "install")(m.Install(t.Context(), c))
	running := Status{Installed: true, Enabled: true, Running: true, UpToDate: true}
	status(running)
	if !m.Serves(c.Socket) || m.Serves(`\\.\pipe\another`) {
		t.Error("the task is not known by its pipe")
	}
	if n := take(t, run, "install again")(m.Install(t.Context(), c)); n > 0 {
		t.Errorf("there are %d steps to do what is done", n)
	}
	c.Vars = nil
	take(t, run, "upgrade")(m.Install(t.Context(), c))
	status(running)
	take(t, run, "restart")(m.Restart(t.Context()))
	take(t, run, "stop")(m.Stop(t.Context()))
	status(Status{Installed: true, Enabled: true, UpToDate: true})
	take(t, run, "start")(m.Start(t.Context()))
	status(running)
	c.OnDemand = true
	take(t, run, "on demand")(m.Install(t.Context(), c))
	if strings.Contains(run.xml, "LogonTrigger") {
		t.Errorf("it still starts at logon:\n%s", run.xml)
	}
	take(t, run, "uninstall")(m.Uninstall(t.Context()))
	status(Status{})
	if n := take(t, run, "uninstall again")(m.Uninstall(t.Context())); n > 0 {
		t.Errorf("there are %d steps to remove what is not there", n)
	}
}
