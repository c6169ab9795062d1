package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Check finds out why `systemctl --user` would not work, since its own message hardly says.
func (m *systemd) Check(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(m.root, "run/systemd/system")); err != nil {
		return &Problem{Hint: withoutService,
			Message: "systemd does not run here, as in many containers and in WSL unless it is turned on there"}
	}
	if err := m.homeIsOurs(); err != nil {
		return err
	}
	runtimeDir := m.env("XDG_RUNTIME_DIR")
	if runtimeDir == "" {
		return m.noSession("there is no session of the user's systemd: XDG_RUNTIME_DIR is not set")
	}
	if info, err := os.Stat(runtimeDir); err != nil {
		return m.noSession("there is no session of the user's systemd: XDG_RUNTIME_DIR is " + runtimeDir +
			", which is not there")
	} else if owner := ownerOf(info); owner >= 0 && owner != m.uid {
		message := fmt.Sprintf("XDG_RUNTIME_DIR is %s, which belongs to uid %d, and this is uid %d", runtimeDir, owner,
			m.uid)
		return &Problem{Message: message, Hint: m.asOneself()}
	}
	out, err := m.run.Run(ctx, userctl("show", "--property=UnitPath", "--value")...)
	if err != nil || out.Code != 0 {
		return m.trouble(out, err)
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
	if info, err := os.Stat(filepath.Join(m.root, dir)); err == nil && ownerOf(info) == m.uid {
		p.Hint = "there is one: export XDG_RUNTIME_DIR=" + dir
	} else if m.uid != 0 {
		p.Hint = "log in as this user, at the console or by ssh, not by su; or have a session without a login: " +
			"loginctl enable-linger; " +
			withoutService
	}
	return p
}

func (m *systemd) trouble(out Output, err error) *Problem {
	p := &Problem{Message: "the user's systemd does not answer", Output: out.Stderr}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		p.Message, p.Hint = "there is no systemctl on PATH", withoutService
	case err != nil:
		p.Message += ": " + err.Error()
		p.Hint = withoutService
	case strings.Contains(out.Stderr, "bus"):
		p.Message = "the user's systemd cannot be reached: no bus answers"
		p.Hint = "log out and in again; if that does not help, its bus is missing (Debian and Ubuntu: package " +
			"dbus-user-session); " +
			withoutService
	default:
		p.Hint = "see: systemctl --user status"
	}
	return p
}

// linger is nil if systemd does not run.
func (m *systemd) linger() *bool {
	me, err := user.LookupId(fmt.Sprint(m.uid))
	if _, serr := os.Stat(filepath.Join(m.root, "run/systemd/system")); err != nil || serr != nil {
		return nil
	}
	_, err = os.Stat(filepath.Join(m.root, "var/lib/systemd/linger", me.Username))
	on := err == nil
	return &on
}
