package main

import (
	"testing"

	"runtimed/pool"
	"runtimed/pool/builder"
)

func TestTheLineAboutThePoolsTellsWhatMatters(t *testing.T) {
	got := describePools([]pool.Status{
		{Name: "uv", State: "ready", Target: 3, Available: 3, Leased: 1},
		{Name: "data", State: "warming", Target: 2, Warming: 1, Waiting: 4},
		{Name: "bad", State: "failing", Target: 1,
			Error: &pool.StatusError{Error: builder.Error{Cause: "network"}}},
		{Name: "conda", State: "off"},
		{Name: "old", State: "off", Leased: 2},
	})
	want := "uv: 3 of 3 ready, 1 leased; data: 0 of 2 ready, 1 warming, 4 waiting; " +
		"bad: 0 of 1 ready, builds fail (network); " +
		"conda: off; old: off, 2 leased"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
