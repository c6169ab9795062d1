package main

import (
	"testing"

	"runtimed/pool"
	"runtimed/rpc"
)

func TestThePoolAndTheWireUseTheSameWords(t *testing.T) {
	for ours, theirs := range map[string]string{
		pool.CausePackageNotFound: rpc.CausePackageNotFound, pool.CauseUnsatisfiable: rpc.CauseUnsatisfiable,
		pool.CauseNetwork: rpc.CauseNetwork, pool.CauseAuth: rpc.CauseAuth, pool.CauseTimeout: rpc.CauseTimeout,
		pool.CauseDiskFull: rpc.CauseDiskFull, pool.CauseCorrupt: rpc.CauseCorrupt,
		pool.CauseToolMissing:   rpc.CauseToolMissing,
		pool.CausePythonMissing: rpc.CausePythonMissing, pool.CauseVerifyFailed: rpc.CauseVerifyFailed,
		pool.CausePermission: rpc.CausePermission, pool.CauseOther: rpc.CauseOther,
		pool.StageQueued: rpc.StageQueued, pool.StageResolving: rpc.StageResolving,
		pool.StageDownloading: rpc.StageDownloading,
		pool.StageInstalling:  rpc.StageInstalling, pool.StageCompiling: rpc.StageCompiling,
		pool.StageVerifying:  rpc.StageVerifying,
		string(pool.Warming): rpc.EnvWarming, string(pool.Ready): rpc.EnvReady, string(pool.Leased): rpc.EnvLeased,
		string(pool.Removing): rpc.EnvRemoving,
	} {
		if ours != theirs {
			t.Errorf("the pool says %q, the wire %q", ours, theirs)
		}
	}
}
