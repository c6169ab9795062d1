package service

import (
	"context"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/safefile"
)

func (m *systemd) runs() bool { return safefile.Exists(filepath.Join(m.root, "run/systemd/system")) }

// Check finds out why `systemctl --user` would not work, since its own message hardly says.
func (m *systemd) Check(ctx context.Context) error {
	if !m.runs() {
		return &Problem{Hint: withoutService, Absent: true,
			Message: "systemd does not run here, as in many containers and in WSL unless it is turned on there"}
	}
	if err := m.homeIsOurs(); err != nil {
		return err
	}
	runtimeDir := m.env("XDG_RUNTIME_DIR")
	if runtimeDir == "" {
		return m.noSession("there is no session of the user's systemd: XDG_RUNTIME_DIR is not set")
	}
	if !safefile.Exists(runtimeDir) {
		return m.noSession("there is no session of the user's systemd: XDG_RUNTIME_DIR is " + runtimeDir +
			", which is not there")
	}
	if err := m.folderIsOurs("XDG_RUNTIME_DIR"); err != nil {
		return err
	}
	out, err := m.show(ctx, "--property=UnitPath", "--value")
	if err != nil {
		return err
	}
	plain := !strings.ContainsAny(m.dir(), " \t\"'\\") // else it may be shown in another way
	if read := strings.Fields(out.Stdout); len(read) > 0 && plain && !slices.Contains(read, m.dir()) {
		return &Problem{
			Message: "the user's systemd does not read " + m.dir() +
				": it was started without this shell's XDG_CONFIG_HOME",
			Hint: "unset XDG_CONFIG_HOME, or set it in ~/.config/environment.d and log in again",
		}
	}
	return nil
}

func (m *systemd) noSession(message string) *Problem {
	p := &Problem{Message: message, Hint: m.asOneself() + "; " + withoutService}
	if m.env("SUDO_USER") != "" {
		return p
	}
	dir := fmt.Sprintf("/run/user/%d", m.uid)
	if owner, known := ownerOf(filepath.Join(m.root, dir)); known && owner == m.uid {
		p.Hint = "there is one: export XDG_RUNTIME_DIR=" + dir
	} else if m.uid != 0 {
		p.Hint = "log in as this user, at the console or by ssh, not by su; or have a session without a login: " +
			"loginctl enable-linger; " + withoutService
	}
	return p
}

func (m *systemd) show(ctx context.Context, args ...string) (Output, error) {
	const failed = "the user's systemd does not answer"
	out, err := m.probe(ctx, failed, userctl(append([]string{"show"}, args...)...)...)
	switch {
	case err != nil || out.Code == 0:
		return out, err
	case strings.Contains(out.Stderr, "bus"):
		return out, &Problem{
			Message: "the user's systemd cannot be reached: no bus answers",
			Hint: "log out and in again; if that does not help, its bus is missing (Debian and Ubuntu: package " +
				"dbus-user-session); " + withoutService,
			Output: out.Stderr,
		}
	}
	return out, &Problem{Message: failed, Hint: "see: systemctl --user status", Output: out.Stderr}
}

// linger is nil if systemd does not run.
func (m *systemd) linger() *bool {
	me, err := user.LookupId(fmt.Sprint(m.uid))
	if err != nil || !m.runs() {
		return nil
	}
	return new(safefile.Exists(filepath.Join(m.root, "var/lib/systemd/linger", me.Username)))
}
