package doctor

import (
	"context"
	"path/filepath"

	"runtimed/config"
	"runtimed/internal/tool"
	"runtimed/pool/uv"
)

func checkStore(_ context.Context, e *Env, _ []config.Pool) Findings {
	dir := e.cfg.UV.Store
	if dir == "" {
		return skipped("not needed: uv.store names none")
	}
	if err := uv.CheckStore(dir); err != nil {
		return warning("the store of packages %s is not used, so builds ask the package index: %v", dir, err).
			hint("its owner alone may write to it, and all must be able to read it; " +
				"or correct uv.store in the configuration")
	}
	wheels, _ := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "*.whl"))
	locks, _ := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "locks", "*.txt"))
	if len(wheels) == 0 {
		return warning("the store of packages %s has no wheels, so builds ask the package index", dir).
			hint("its owner fills it with: runt store fill")
	}
	return fine("%s has %d wheels and %d lock files", dir, len(wheels), len(locks))
}
