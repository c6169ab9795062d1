package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"runtimed/internal/daemon"
	"runtimed/rpc"
	"runtimed/service"
)

func TestFindingsAsPeopleReadThem(t *testing.T) {
	list := []rpc.Check{
		problem("socket", "stop it", "another program listens on /s\x1b[2J: it does not speak runtimed's protocol"),
		okay("daemon", "not running"),
		okay("config", "/c\npools.uv.size = 1 (line 2)"),
		note("pools", "conda: builds fail"),
		skipped("channels", "not tested: no network"),
		{Name: "lock", Status: rpc.CheckOK, Message: "it was left", Fixed: "removed /l"},
		warning("service", "runt service install enables it", "not enabled"),
		warning("strays", "look at them", "mine"),
	}
	const want = `
ok       daemon    not running
ok       config    /c
                   pools.uv.size = 1 (line 2)
ok       lock      it was left
                   repaired: removed /l
skipped  channels  not tested: no network
note     pools     conda: builds fail
warning  service   not enabled
                   -> runt service install enables it
warning  strays    mine
                   -> look at them
problem  socket    another program listens on /s\x1b[2J: it does not speak runtimed's protocol
                   -> stop it

1 problem, 2 warnings, 1 note, 1 skipped, 3 ok
`
	var text, coloured bytes.Buffer
	writeChecks(&text, list, false)
	if text.String() != want[1:] {
		t.Errorf("got\n%s\nwant%s", text.String(), want)
	}
	writeChecks(&coloured, list, true)
	plain := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[36m", "",
		"\x1b[90m", "", "\x1b[0m", "").
		Replace(coloured.String())
	if plain != text.String() || !strings.Contains(coloured.String(), "\x1b[31mproblem\x1b[0m  socket   ") {
		t.Errorf("got\n%s", coloured.String())
	}
}

func TestPoolsAsTheDoctorTellsThem(t *testing.T) {
	ready := rpc.PoolStatus{Name: "uv", Target: 3, Available: 2, Warming: 1}
	off := rpc.PoolStatus{Name: "conda"}
	failing := rpc.PoolStatus{Name: "data", Target: 1, Error: &rpc.PoolError{
		Cause: "network", Message: "the package index cannot be reached", Hint: "check the network",
		NextRetryMS: 29_500,
	}}
	unwanted := failing
	unwanted.Name = "conda"
	for name, c := range map[string]struct {
		pools []rpc.PoolStatus
		want  rpc.Check
	}{
		"nobody asked for the one that fails": {[]rpc.PoolStatus{ready, unwanted}, rpc.Check{
			Name: "pools", Status: rpc.CheckNote,
			Message: "uv: 2 of 3 ready, 1 warming\n" +
				"conda: builds fail (network): the package index cannot be reached; next try in 30s",
			Hint: "check the network; " + rpc.UnneededConda(""),
		}},
		"two fail": {[]rpc.PoolStatus{unwanted, failing}, rpc.Check{
			Name: "pools", Status: rpc.CheckProblem,
			Message: "conda: builds fail (network): the package index cannot be reached; next try in 30s\n" +
				"data: builds fail (network): the package index cannot be reached; next try in 30s",
			Hint: "check the network",
		}},
		"well": {[]rpc.PoolStatus{ready, off},
			rpc.Check{Name: "pools", Status: rpc.CheckOK, Message: "uv: 2 of 3 ready, 1 warming\nconda: off"}},
		"off": {[]rpc.PoolStatus{off},
			rpc.Check{Name: "pools", Status: rpc.CheckWarning, Message: "conda: off",
				Hint: "give one a size in the configuration"}},
		"failing": {[]rpc.PoolStatus{off, failing}, rpc.Check{
			Name: "pools", Status: rpc.CheckProblem,
			Message: "conda: off\ndata: builds fail (network): the package index cannot be reached; next try in 30s",
			Hint:    "check the network",
		}},
	} {
		if got := checkPools(c.pools, []string{"conda"}); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTheDoctorSaysWhyAPoolHasNoStandbyAndIsQuietWhereAllIsWell(t *testing.T) {
	pool := func(size int, s rpc.StandbyStatus) []rpc.PoolStatus {
		return []rpc.PoolStatus{{Name: "uv", Target: size, Standby: s}}
	}
	why := "the last caller could not have one: it is in another namespace"
	fault := "nunpy cannot be imported: ModuleNotFoundError: No module named 'nunpy'"
	const hint = "correct preload or packages of the pool; then: runt daemon reload"
	for name, c := range map[string]struct {
		pools    []rpc.PoolStatus
		variable string
		want     []rpc.Check
	}{
		"well":             {pool(1, rpc.StandbyStatus{Target: 1, Ready: 1}), "", nil},
		"being started":    {pool(1, rpc.StandbyStatus{Target: 1}), "", nil},
		"off":              {pool(0, rpc.StandbyStatus{Target: 1, Why: why}), "", nil},
		"none, or no word": {pool(1, rpc.StandbyStatus{}), "", nil},
		"low on memory": {pool(1, rpc.StandbyStatus{Target: 2, Why: "only 300 MiB of memory are free"}), "",
			[]rpc.Check{note("standby", "uv: 0 of 2 ready: only 300 MiB of memory are free")}},
		"refused": {pool(1, rpc.StandbyStatus{Target: 1, Ready: 1, Why: why}), "1",
			[]rpc.Check{note("standby", "uv: 1 of 1 ready: %s", why)}},
		"switched off": {nil, "0",
			[]rpc.Check{note("standby", "RUNTIMED_STANDBY is 0 here, so kernels that this shell starts use none")}},
		"a module that is not there": {
			pool(1, rpc.StandbyStatus{Target: 1, Ready: 1, Why: why, Warnings: []string{fault}}), "",
			[]rpc.Check{warning("standby", hint, "uv: 1 of 1 ready: %s\nuv: %s", why, fault)}},
	} {
		a := &app{Control: &daemon.Control{Env: func(name string) string {
			return map[string]string{"RUNTIMED_STANDBY": c.variable}[name]
		}}}
		if got := a.checkStandbys(c.pools); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTheServiceAsTheDoctorTellsIt(t *testing.T) {
	absent := &service.Problem{Message: "systemd does not run here", Hint: "do without", Absent: true}
	away := &service.Problem{Message: "no bus answers", Hint: "log in"}
	for name, c := range map[string]struct {
		st    service.Status
		other bool
		want  rpc.Check
	}{
		"nobody asked for it": {service.Status{}, false,
			note("service", "not installed; runt service install makes the daemon start at login")},
		"nobody asked for it, and it cannot be": {service.Status{Trouble: absent}, false, found("service",
			rpc.CheckNote, "do without", "not installed, and could not be: systemd does not run here")},
		"it cannot work": {service.Status{Installed: true, Trouble: absent}, false, problem("service",
			"runt service uninstall; do without", "installed, but systemd does not run here")},
		"it cannot be asked": {service.Status{Installed: true, Trouble: away}, false, warning("service",
			"log in", "installed, but its manager cannot be used from here: no bus answers")},
		"it is another runt's": {service.Status{Installed: true, Enabled: true}, true,
			note("service", "installed and enabled; it starts the daemon of another runt, of the same version")},
		"it is well": {service.Status{Installed: true, Enabled: true, UpToDate: true}, false,
			okay("service", "installed and enabled, up to date")},
	} {
		if got := checkService(c.st, c.other); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
