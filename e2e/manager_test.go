//go:build e2e && unix

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestTheManagerHearsHowTheDaemonIs(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("sleep 600 & wait")
	d := u.started()
	if first := u.heard()[0]; !strings.HasPrefix(first, "READY=1\nSTATUS=") {
		t.Errorf("its first words are %q", first)
	}
	u.hears("STATUS=uv: off; conda: off")

	before := len(u.heard())
	u.configure("[pools.uv]\nsize = 2\n")
	must[rpc.ReloadResult](u.house, rpc.MethodReload, nil)
	u.hears("STATUS=uv: 0 of 2 ready, 2 warming; conda: off")
	var kinds []string
	for _, said := range u.heard()[before:] {
		kind, _, _ := strings.Cut(said, "=")
		if kind != "STATUS" {
			kinds = append(kinds, kind)
		}
		if kind == "RELOADING" && !strings.Contains(said, "\nMONOTONIC_USEC=") {
			t.Errorf("a reload without its time: %q", said)
		}
	}
	// the second, where the change of the file was seen as well
	if got := strings.Join(kinds, " "); got != "RELOADING READY" && got != "RELOADING READY RELOADING READY" {
		t.Errorf("around a reload it says %s", got)
	}

	d.stop()
	time.Sleep(100 * time.Millisecond)
	said := u.heard()
	if last := said[len(said)-1]; !strings.HasPrefix(last, "STOPPING=1") {
		t.Errorf("its last words are %q", last)
	}
}

func TestTheWatchdogIsFedAlsoWhileABuildHangs(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("sleep 600 & wait")
	u.configure("[pools.uv]\nsize = 1\n")
	u.setenv("WATCHDOG_USEC", "2000000")
	d := u.started()
	u.eventually(10*time.Second, "a build hangs", func() bool { return u.pool("uv").Warming == 1 })
	count := func() int { return strings.Count(strings.Join(u.heard(), "\n"), "WATCHDOG=1") }
	for range 3 {
		before := count()
		u.eventually(2*time.Second, "the watchdog is fed", func() bool { return count() > before })
	}
	time.Sleep(time.Second)
	if n := count(); n > 20 {
		t.Errorf("it was fed %d times", n)
	}
	d.stop()
}

func TestWhatBelongsToAnotherServiceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env   [2]string
		flags []string
		want  string
	}{
		"a terminal that is a service": {[2]string{"SYSTEMD_EXEC_PID", "1"}, nil, rpc.StartedByHand},
		"a service that runs a command": {
			[2]string{"WATCHDOG_USEC", "100000"}, []string{"--auto"}, rpc.StartedByCommand,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			u := &unit{house: h}
			u.hearAt(filepath.Join(filepath.Dir(h.home), "notify"))
			u.setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
			u.setenv("LISTEN_PID", "1")
			u.setenv("LISTEN_FDS", "1")
			u.setenv(c.env[0], c.env[1])
			u.start(c.flags...)
			if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.StartedBy != c.want {
				t.Errorf("it was started by %s", info.StartedBy)
			}
			time.Sleep(300 * time.Millisecond)
			if said := u.heard(); len(said) > 0 {
				t.Errorf("it told another's manager %q", said)
			}
		})
	}
}
