package uv

import (
	"cmp"
	"context"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
)

// Workdir is the empty folder in which children run: uv searches upwards from there for projects and Python versions.
func (u *Builder) Workdir() (string, error) {
	dir := filepath.Join(u.Tools(), "empty")
	return dir, envdir.DiskError(u.Folder(dir))
}

// Child runs a child, in Workdir unless it names another folder. What Workdir says is a *builder.Error.
func (u *Builder) Child(ctx context.Context, c tool.Command) (done tool.Result, err error) {
	if c.Dir == "" {
		if c.Dir, err = u.Workdir(); err != nil {
			return done, err
		}
	}
	return tool.Run(ctx, c)
}

// ToolEnviron is the environment of uv. It names the user's uv.toml, so that their index counts, and turns off all
// others.
func (u *Builder) ToolEnviron() []string {
	cfg := u.Config()
	link := "clone" // uv's default; it falls back to hard links
	if cfg.Copy {
		link = "copy"
	}
	env := append(tool.Environ(u.Environ), "UV_NO_CONFIG=1", "UV_NO_PROGRESS=1", "UV_NO_WRAP=1", "NO_COLOR=1",
		"UV_CACHE_DIR="+u.cacheDir(), "UV_LINK_MODE="+link, "UV_OFFLINE=false") // whatever uv.toml says
	if path := u.configFile(); path != "" {
		env = append(env, "UV_CONFIG_FILE="+path)
	}
	if cfg.IndexURL != "" {
		env = append(env, "UV_DEFAULT_INDEX="+cfg.IndexURL)
	}
	return env
}

// cacheDir is the user's own uv cache, which is warm, unless it cannot be written or linked from.
func (u *Builder) cacheDir() string {
	cache := cmp.Or(tool.Lookup(u.Environ, "UV_CACHE_DIR"), UsualCache(u.Environ))
	if filepath.IsAbs(cache) && os.MkdirAll(cache, 0o755) == nil && envdir.SameDevice(cache, u.Dir) &&
		statedir.Writable(cache) == nil {
		return cache
	}
	own := filepath.Join(u.Tools(), "uv-cache")
	_ = u.NoFile(own) // on failure uv says why
	u.mu.Lock()
	told := u.ownCache
	u.ownCache = true
	u.mu.Unlock()
	if !told {
		_ = statedir.MakeFolder(own) // on failure uv says why
		u.log.Info("uv gets a cache of its own, since nothing can be linked from the usual one or written to it",
			zap.String("usual", cache), zap.String("own", own))
	}
	return own
}
