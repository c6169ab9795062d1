//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// registered is a command without HOME that sees this user database alone.
func (h *house) registered(t *testing.T, database string) func(name string, arg ...string) *exec.Cmd {
	t.Helper()
	h.write("passwd", database)
	h.write("nsswitch.conf", "passwd: files\n")
	by := []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf("mount --bind '%s' /etc/passwd && "+
		"mount --bind '%s' /etc/nsswitch.conf && exec \"$@\"", filepath.Join(h.home, "passwd"),
		filepath.Join(h.home, "nsswitch.conf")), "sh"}
	if out, err := exec.Command(by[0], append(by[1:], "true")...).CombinedOutput(); err != nil {
		lacking(t, "nothing can be mounted here: "+string(out))
	}
	h.env = slices.DeleteFunc(h.env, func(v string) bool { return strings.HasPrefix(v, "HOME=") })
	return func(name string, arg ...string) *exec.Cmd {
		cmd := exec.Command(by[0], append(append(slices.Clone(by[1:]), name), arg...)...)
		cmd.Env, cmd.Dir = h.env, h.home
		return cmd
	}
}

func TestWithoutHOMETheUserDatabaseTellsTheHome(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"Go finds the user": "root:x:0:0:root:%s:/bin/sh\n",
		// Go compares numbers as texts, so it finds this user no better than one of a directory service
		"only getent finds the user": "root:x:00:00:root:%s:/bin/sh\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t).withUV()
			h.configure("[pools.uv]\nsize = 1\npackages = [\"ipykernel\"]\n")
			command := h.registered(t, fmt.Sprintf(line, h.home))
			run := func(name string, arg ...string) string {
				t.Helper()
				cmd := command(name, arg...)
				var said strings.Builder
				cmd.Stderr = &said
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s %q: %v: %s", name, arg, err, &said)
				}
				return string(out)
			}
			const where = "import os, sys; print(os.environ['HOME'], os.path.expanduser('~'), sys.prefix)"
			got := strings.Fields(run(runtProgram, "run", "--", "python", "-c", where))
			defer run(runtProgram, "daemon", "stop")
			if len(got) != 3 || got[0] != h.home || got[1] != h.home || !strings.HasPrefix(got[2], h.state("envs")) {
				t.Errorf("a program sees %q", got)
			}
			if path := strings.TrimSpace(run(runtProgram, "config", "path")); !strings.HasPrefix(path, h.home) {
				t.Errorf("the configuration is %s", path)
			}
			run(runtProgram, "kernelspec", "install")
			h.t.Cleanup(h.tellFrontEnds)
			j := h.frontEndBy(command, h.env)
			j.do("start", step{"kernel": "runtimed-uv"})
			got = strings.Fields(j.cell(where))
			if len(got) != 3 || got[0] != h.home || got[1] != h.home || !strings.HasPrefix(got[2], h.state("envs")) {
				t.Errorf("a kernel sees %q", got)
			}
			j.do("shutdown", nil)
		})
	}
}

func TestAUserThatNoDatabaseHasIsToldToSetHOME(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	command := h.registered(t, "daemon:x:1:1::/:/bin/sh\n")
	for _, c := range []struct {
		argv []string
		code int
		says string
	}{
		{[]string{daemonProgram, "run"}, exitUseless, "configuration: set it, or RUNTIMED_CONFIG"},
		{[]string{runtProgram, "run", "--", "true"}, 3, "socket: set it, or RUNTIMED_SOCKET"},
		{[]string{runtProgram, "config", "show"}, 1, "configuration: set it, or RUNTIMED_CONFIG"},
	} {
		cmd := command(c.argv[0], c.argv[1:]...)
		out, _ := cmd.CombinedOutput() // the exit code says it
		const why = "HOME is not set, and the user database has no home for this user, so there is no place for the "
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), why+c.says) {
			t.Errorf("%v: exit code %d, %s", c.argv, cmd.ProcessState.ExitCode(), out)
		}
	}
}
