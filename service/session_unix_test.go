//go:build unix

package service

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestASessionThatCannotBeUsedIsToldWithItsNextStep(t *testing.T) {
	noBus := answers{"systemctl": {Code: 1, Stderr: "Failed to connect to bus: No medium found\n"}}
	fine := show("inactive", "", "inactive", "")
	for _, c := range []struct {
		what          string
		run           Runner
		change        func(m *systemd, env map[string]string)
		message, hint string
	}{
		{"all is well", fine, func(*systemd, map[string]string) {}, "", ""},
		{"no systemd", fine, func(m *systemd, _ map[string]string) { os.Remove(m.root + "/run/systemd/system") },
			"systemd does not run here", "runt daemon start"},
		{"no session", fine, func(_ *systemd, env map[string]string) { env["XDG_RUNTIME_DIR"] = "" },
			"XDG_RUNTIME_DIR is not set", "log in"},
		{"su", fine, func(m *systemd, env map[string]string) {
			env["XDG_RUNTIME_DIR"] = ""
			m.uid = 4242
			env["HOME"] = "/nowhere"
		},
			"XDG_RUNTIME_DIR is not set", "loginctl enable-linger"},
		{"a session is there, but not known to the shell", fine, func(m *systemd, env map[string]string) {
			env["XDG_RUNTIME_DIR"] = ""
			os.MkdirAll(filepath.Join(m.root, "run/user", strconv.Itoa(m.uid)), 0o700)
		}, "XDG_RUNTIME_DIR is not set", "export XDG_RUNTIME_DIR=/run/user/"},
		{"the session has ended", fine, func(m *systemd, env map[string]string) { os.Remove(env["XDG_RUNTIME_DIR"]) },
			"which is not there", "log in"},
		{"sudo", fine,
			func(_ *systemd, env map[string]string) { env["XDG_RUNTIME_DIR"] = ""; env["SUDO_USER"] = "ann" },
			"XDG_RUNTIME_DIR is not set", "run it as ann, without sudo"},
		{"sudo that keeps HOME", fine, func(m *systemd, env map[string]string) { m.uid++; env["SUDO_USER"] = "ann" },
			"belongs to uid", "run it as ann"},
		{"su that keeps the session", fine,
			func(m *systemd, env map[string]string) { m.uid++; env["HOME"] = "/nowhere" },
			"XDG_RUNTIME_DIR is ", "not by su"},
		{"no bus", noBus, func(*systemd, map[string]string) {}, "no bus answers", "dbus-user-session"},
		{"no systemctl", Commands{}, func(*systemd, map[string]string) { t.Setenv("PATH", "/nowhere") }, "no systemctl",
			"runt daemon start"},
		{"units elsewhere", answers{"systemctl": {Stdout: "/a /b\n"}}, func(*systemd, map[string]string) {},
			"does not read", "XDG_CONFIG_HOME"},
	} {
		m := under(t, c.run)
		env := map[string]string{"HOME": m.env("HOME"), "XDG_RUNTIME_DIR": m.env("XDG_RUNTIME_DIR")}
		m.env = func(name string) string { return env[name] }
		c.change(m, env)
		err := m.Check(t.Context())
		if c.message == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		p, ok := err.(*Problem)
		if !ok || !strings.Contains(p.Message, c.message) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %v, hint %q", c.what, err, p.Hint)
		} else if p.Absent != strings.Contains(c.message, "does not run") {
			t.Errorf("%s: absent is %v", c.what, p.Absent)
		}
	}
}

func TestLingerIsReadFromItsFile(t *testing.T) {
	m := under(t, answers{})
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip(err) // as in a container that runs as a uid without a name
	}
	if on := m.linger(); on == nil || *on {
		t.Error("linger is on without its file")
	}
	os.MkdirAll(filepath.Join(m.root, "var/lib/systemd/linger", me.Username), 0o700)
	if on := m.linger(); on == nil || !*on {
		t.Error("linger is off with its file")
	}
}
