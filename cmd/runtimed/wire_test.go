package main

import (
	"testing"

	"runtimed/pool"
	"runtimed/rpc"
)

func TestThePoolAndTheWireUseTheSameWords(t *testing.T) {
	for ours, theirs := range map[string]string{
		string(pool.Warming): rpc.EnvWarming, string(pool.Ready): rpc.EnvReady, string(pool.Leased): rpc.EnvLeased,
		string(pool.Removing): rpc.EnvRemoving,
	} {
		if ours != theirs {
			t.Errorf("the pool says %q, the wire %q", ours, theirs)
		}
	}
}
