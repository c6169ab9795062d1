package config

import (
	"cmp"
	"slices"
	"time"

	"runtimed/internal/statedir"
)

// setting is one key: how its value is read, checked and shown.
type setting struct {
	key string
	set func(any) error
	get func() any
}

func (c *Config) settings() []setting {
	b := &c.Build
	return []setting{
		text("log_level", &c.LogLevel, oneOf("debug", "info", "warn", "error")),
		duration("idle_exit", &c.IdleExit, 0),
		duration("standby_idle", &c.StandbyIdle, 0),
		text("cache_dir", &c.CacheDir, stateDir),
		number("build.parallel", &b.Parallel, 1, 256),
		duration("build.timeout", &b.Timeout, time.Second),
		size("build.min_free", &b.MinFree),
		size("build.max_size", &b.MaxSize),
		duration("build.lock_age", &b.LockAge, time.Second),
		text("uv.path", &c.UV.Path, absolute),
		text("uv.index_url", &c.UV.IndexURL, index),
		text("uv.link", &c.UV.Link, oneOf("auto", "copy")),
		text("uv.store", &c.UV.Store, absolute),
		text("conda.provider", &c.Conda.Provider, oneOf("auto", "micromamba", "mamba", "conda", "rattler")),
		text("conda.path", &c.Conda.Path, absolute),
		number("projects.warm", &c.Projects.Warm, 0, MaxPoolSize),
		number("limits.size", &c.Limits.Size, 1, MaxPoolSize),
		size("limits.max_size", &c.Limits.MaxSize),
	}
}

func (p *Pool) settings() []setting {
	return []setting{
		text("kind", &p.Kind, p.checkKind),
		number("size", &p.Size, 0, MaxPoolSize),
		text("python", &p.Python, python),
		list("packages", &p.Packages),
		list("channels", &p.Channels, channel),
		text("lock", &p.Lock, plainPath),
		duration("max_age", &p.MaxAge, time.Second),
		number("standby", &p.Standby, 0, MaxPoolSize),
		list("preload", &p.Preload, module),
		duration("idle", &p.Idle, 0),
	}
}

func (p *Pool) builtin() bool { return p.Name == KindUV || p.Name == KindConda }

func (c *Config) all() []setting {
	out := c.settings()
	for i := range c.Pools {
		p := &c.Pools[i]
		for _, s := range p.settings() {
			if s.key == "channels" && p.Kind != KindConda {
				continue
			}
			s.key = "pools." + p.Name + "." + s.key
			out = append(out, s)
		}
	}
	return out
}

func find(settings []setting, key string) (setting, bool) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}

func (c *Config) override(flags Flags, env func(string) string) (faults Faults) {
	number := func(n *int) any {
		if n == nil {
			return ""
		}
		return int64(*n)
	}
	settings := append(c.all(), text("socket", &c.Socket, absolute))
	for _, o := range []struct {
		where, key string
		value      any // "" is not given
	}{
		{"RUNTIMED_CACHE_DIR", "cache_dir", env("RUNTIMED_CACHE_DIR")},
		{"RUNTIMED_LOG_LEVEL", "log_level", env("RUNTIMED_LOG_LEVEL")},
		{"RUNTIMED_UV_POOL_SIZE", "pools.uv.size", asNumber(env("RUNTIMED_UV_POOL_SIZE"))},
		{"RUNTIMED_CONDA_POOL_SIZE", "pools.conda.size", asNumber(env("RUNTIMED_CONDA_POOL_SIZE"))},
		{"--cache-dir", "cache_dir", flags.CacheDir},
		{"--log-level", "log_level", flags.LogLevel},
		{"--uv-pool-size", "pools.uv.size", number(flags.UVPoolSize)},
		{"--conda-pool-size", "pools.conda.size", number(flags.CondaPoolSize)},
		{"--socket", "socket", flags.Socket},
	} {
		if o.value == "" {
			continue
		}
		c.Origins[o.key] = o.where
		s, _ := find(settings, o.key)
		if err := s.set(o.value); err != nil {
			faults = append(faults, newFault(o.where, o.key, "%s", err))
		}
	}
	return faults
}

// Setting is one value in force, as `runt config show` prints it.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // a string, a number or a list of strings, as in the file
	Origin string `json:"origin"`
	// LimitedBy is where the limit stands that lowered the value; empty if none did.
	LimitedBy string `json:"limited_by,omitempty"`
	// Chosen is what an empty python stands for.
	Chosen *statedir.Python `json:"chosen,omitempty"`
	// Place is what an empty cache_dir stands for.
	Place string `json:"place,omitempty"`
}

// Settings lists every value in the order of the documentation.
func (c *Config) Settings() []Setting {
	var out []Setting
	for _, s := range c.all() {
		place := ""
		if s.key == "cache_dir" && c.CacheDir == "" {
			place = c.State
		}
		out = append(out, Setting{s.key, s.get(), cmp.Or(c.Origins[s.key], "default"), c.limited[s.key],
			c.chosen(s.key), place})
	}
	return out
}

// chosen is the Python that the setting with this key leaves to the daemon to choose; nil if it does not, or none was.
func (c *Config) chosen(key string) *statedir.Python {
	for _, p := range c.Pools {
		if key == "pools."+p.Name+".python" && p.Kind == KindUV && p.Python == "" && c.Chosen.Path != "" {
			return &c.Chosen
		}
	}
	return nil
}
