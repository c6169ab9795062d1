package main

import (
	"slices"

	"runtimed/config"
	"runtimed/rpc"
)

// The states of a kernelspec's pool.
const (
	poolOn   = "on"
	poolOff  = "off"
	poolGone = "gone"
)

// specPools are the pools that there are.
type specPools []config.Pool

// specPools returns what the daemon says, else what the configuration does.
func (a *app) specPools() (specPools, error) {
	status, err := a.Pools()
	if err == nil {
		all := make(specPools, 0, len(status.Pools))
		for _, p := range status.Pools {
			all = append(all, config.Pool{Name: p.Name, Kind: p.Kind, Size: p.Target})
		}
		return all, nil
	}
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return nil, err
	}
	cfg, err := config.LoadToStart(config.Flags{}, a.Env)
	if err != nil {
		return nil, err
	}
	return cfg.Pools, nil
}

func (all specPools) find(name string) (config.Pool, bool) {
	i := slices.IndexFunc(all, func(p config.Pool) bool { return p.Name == name })
	if i < 0 {
		return config.Pool{}, false
	}
	return all[i], true
}

func (all specPools) kind(name string) string {
	p, _ := all.find(name)
	return p.Kind
}

// state of a pool. The kernel for notebooks' projects has none, and is always on.
func (all specPools) state(name string) string {
	p, found := all.find(name)
	switch {
	case name == "" || p.Size > 0:
		return poolOn
	case found:
		return poolOff
	}
	return poolGone
}
