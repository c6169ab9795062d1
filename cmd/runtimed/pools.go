package main

import (
	"context"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/statedir"
	"runtimed/pool"
	"runtimed/pool/builder"
	"runtimed/pool/conda"
	"runtimed/pool/uv"
	"runtimed/rpc"
)

// pools are the manager of the environments and what it builds them with.
type pools struct {
	*pool.Manager

	at    statedir.Paths
	uv    *uv.Builder
	conda *conda.Builder

	lastCall atomic.Pointer[time.Time] // when somebody last asked for more than how things are
}

func newPools(lc fx.Lifecycle, at statedir.Paths, s *settings, log *zap.Logger, _ *statedir.Locks) (*pools, error) {
	cfg := s.Load()
	u := uv.New(at.State, uvConfig(cfg), os.Environ(), log.Named("uv"))
	c := conda.New(at.State, condaConfig(cfg), u, os.Environ(), log.Named("conda"))
	byKind := map[string]builder.Builder{builder.KindUV: u, builder.KindConda: c}
	m, err := pool.New(poolConfig(cfg, at), byKind, log.Named("pool"))
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(m.Start, m.Stop))
	return &pools{Manager: m, at: at, uv: u, conda: c}, nil
}

// configure puts cfg in force and returns the names of the changed pools.
func (p *pools) configure(ctx context.Context, cfg *config.Config) ([]string, error) {
	if _, err := p.Status(ctx, ""); err != nil { // while the disk is being read, nothing is taken over
		return nil, err
	}
	p.uv.Configure(uvConfig(cfg)) // first: the builds that follow from the rest use it
	p.conda.Configure(condaConfig(cfg))
	return p.Reconfigure(ctx, poolConfig(cfg, p.at))
}

// kind is that of a pool; empty if there is none of that name.
func (p *pools) kind(ctx context.Context, name string) string {
	list, err := p.Status(ctx, name)
	if err != nil || len(list) == 0 {
		return "" // an acquire says why
	}
	return list[0].Kind
}

// filling reports whether a pool is not full yet, and its builds do not fail.
func (p *pools) filling() bool {
	list, err := p.Status(context.Background(), "")
	return err == nil && slices.ContainsFunc(list, func(s pool.Status) bool { return s.State == rpc.PoolWarming })
}

func uvConfig(cfg *config.Config) uv.Config {
	return uv.Config{Path: cfg.UV.Path, IndexURL: cfg.UV.IndexURL, Copy: cfg.UV.Link == "copy", Store: cfg.UV.Store}
}

func condaConfig(cfg *config.Config) conda.Config {
	return conda.Config{Provider: cfg.Conda.Provider, Path: cfg.Conda.Path}
}

func poolConfig(cfg *config.Config, at statedir.Paths) pool.Config {
	c := pool.Config{
		Dir: at.State, StandbyIdle: cfg.StandbyIdle, Parallel: cfg.Build.Parallel, BuildTimeout: cfg.Build.Timeout,
		Projects: cfg.Projects.Warm, MinFree: cfg.Build.MinFree, MaxSize: cfg.Build.MaxSize, LockAge: cfg.Build.LockAge,
	}
	if statedir.SocketIsFile {
		c.Sockets = at.Folder
	}
	for _, p := range cfg.Pools {
		spec := builder.Spec{Kind: p.Kind, Python: p.Python, Packages: p.Packages, Channels: p.Channels,
			Unlocked: p.Unlocked}
		if p.Locked != nil {
			spec.Lock, spec.Locked, spec.LockFile = p.Locked.Hash(), p.Locked, p.Lock
		}
		c.Pools = append(c.Pools, pool.PoolConfig{
			Name: p.Name, Size: p.Size, MaxAge: p.MaxAge, Standby: p.Standby, Preload: p.Preload, Idle: p.Idle,
			Spec: spec,
		})
	}
	return c
}
