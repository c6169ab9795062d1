package main

import (
	"testing"

	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

func TestThePoolAndTheWireUseTheSameWords(t *testing.T) {
	for ours, theirs := range map[string]string{
		builder.CausePackageNotFound: rpc.CausePackageNotFound, builder.CauseUnsatisfiable: rpc.CauseUnsatisfiable,
		builder.CauseNetwork: rpc.CauseNetwork, builder.CauseAuth: rpc.CauseAuth, builder.CauseTimeout: rpc.CauseTimeout,
		builder.CauseDiskFull: rpc.CauseDiskFull, builder.CauseCorrupt: rpc.CauseCorrupt,
		builder.CauseToolMissing:   rpc.CauseToolMissing,
		builder.CausePythonMissing: rpc.CausePythonMissing, builder.CauseVerifyFailed: rpc.CauseVerifyFailed,
		builder.CausePermission: rpc.CausePermission, builder.CauseOther: rpc.CauseOther,
		builder.StageQueued: rpc.StageQueued, builder.StageResolving: rpc.StageResolving,
		builder.StageDownloading: rpc.StageDownloading,
		builder.StageInstalling:  rpc.StageInstalling, builder.StageCompiling: rpc.StageCompiling,
		builder.StageVerifying: rpc.StageVerifying,
		string(pool.Warming):   rpc.EnvWarming, string(pool.Ready): rpc.EnvReady, string(pool.Leased): rpc.EnvLeased,
		string(pool.Removing): rpc.EnvRemoving,
	} {
		if ours != theirs {
			t.Errorf("the pool says %q, the wire %q", ours, theirs)
		}
	}
}
