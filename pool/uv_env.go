package pool

import (
	"cmp"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
)

// workdir is the empty folder in which children run: uv looks for projects and Python versions upwards from where it is.
func (u *UV) workdir() (string, error) {
	dir := filepath.Join(u.tools(), "empty")
	if err := u.folder(dir); err != nil {
		return "", diskError(err)
	}
	return dir, nil
}

// uvEnv is the environment of uv: alone with what concerns it, quiet, its cache where it can link from, and the user's own
// uv.toml, so that their index counts and a stray one does not.
func (u *UV) uvEnv() []string {
	cfg := u.config()
	link := "clone" // uv's own default, which falls back to hard links
	if cfg.Copy {
		link = "copy"
	}
	env := append(childEnv(u.environ), "UV_NO_CONFIG=1", "UV_NO_PROGRESS=1", "UV_NO_WRAP=1", "NO_COLOR=1",
		"UV_CACHE_DIR="+u.cacheDir(), "UV_LINK_MODE="+link, "UV_OFFLINE=false") // whatever the user's uv.toml says of these
	if path := u.configFile(); path != "" {
		env = append(env, "UV_CONFIG_FILE="+path)
	}
	if cfg.IndexURL != "" {
		env = append(env, "UV_DEFAULT_INDEX="+cfg.IndexURL)
	}
	return env
}

// cacheDir is the user's own uv cache, which is warm, unless nothing can be linked from there or written to it.
func (u *UV) cacheDir() string {
	cache := cmp.Or(lookup(u.environ, "UV_CACHE_DIR"), uvCache(u.environ))
	if filepath.IsAbs(cache) && os.MkdirAll(cache, 0o755) == nil && sameDevice(cache, u.dir) && writable(cache) {
		return cache
	}
	own := filepath.Join(u.tools(), "uv-cache")
	_ = u.noFile(own) // where that does not go, uv says so
	u.mu.Lock()
	told := u.ownCache
	u.ownCache = true
	u.mu.Unlock()
	if !told {
		_ = statedir.MakeFolder(own) // if it cannot be made, uv says so
		u.log.Info("uv gets a cache of its own, since nothing can be linked from the usual one or written to it",
			zap.String("usual", cache), zap.String("own", own))
	}
	return own
}
