package config

import (
	"slices"
	"time"
)

// setting ties one key to its member: how it is read, checked and shown.
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
		text("cache_dir", &c.CacheDir, absolute),
		number("build.parallel", &b.Parallel, 1, 256),
		duration("build.timeout", &b.Timeout, time.Second),
		size("build.min_free", &b.MinFree),
		size("build.max_size", &b.MaxSize),
		duration("build.lock_age", &b.LockAge, time.Second),
		text("uv.path", &c.UV.Path, absolute),
		text("uv.index_url", &c.UV.IndexURL, index),
		text("uv.link", &c.UV.Link, oneOf("auto", "copy")),
		text("conda.provider", &c.Conda.Provider, oneOf("auto", "micromamba", "mamba", "conda", "rattler")),
		text("conda.path", &c.Conda.Path, absolute),
	}
}

func (p *Pool) settings() []setting {
	return []setting{
		text("kind", &p.Kind, p.checkKind),
		number("size", &p.Size, 0, MaxPoolSize),
		text("python", &p.Python, python),
		list("packages", &p.Packages),
		list("channels", &p.Channels, channel),
		duration("max_age", &p.MaxAge, time.Second),
	}
}

func (p *Pool) builtin() bool { return p.Name == KindUV || p.Name == KindConda }

func find(settings []setting, key string) (setting, bool) {
	for _, s := range settings {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

// override applies the environment, then the flags.
func (c *Config) override(flags Flags, env func(string) string) (faults Faults) {
	number := func(n *int) any {
		if n == nil {
			return ""
		}
		return int64(*n)
	}
	uvSize, _ := find(c.Pools[0].settings(), "size")
	condaSize, _ := find(c.Pools[1].settings(), "size")
	cacheDir, _ := find(c.settings(), "cache_dir")
	logLevel, _ := find(c.settings(), "log_level")
	for _, o := range []struct {
		where, key string
		value      any // "" is not given
		setting    setting
	}{
		{"RUNTIMED_CACHE_DIR", "cache_dir", env("RUNTIMED_CACHE_DIR"), cacheDir},
		{"RUNTIMED_LOG_LEVEL", "log_level", env("RUNTIMED_LOG_LEVEL"), logLevel},
		{"RUNTIMED_UV_POOL_SIZE", "pools.uv.size", asNumber(env("RUNTIMED_UV_POOL_SIZE")), uvSize},
		{"RUNTIMED_CONDA_POOL_SIZE", "pools.conda.size", asNumber(env("RUNTIMED_CONDA_POOL_SIZE")), condaSize},
		{"--cache-dir", "cache_dir", flags.CacheDir, cacheDir},
		{"--log-level", "log_level", flags.LogLevel, logLevel},
		{"--uv-pool-size", "pools.uv.size", number(flags.UVPoolSize), uvSize},
		{"--conda-pool-size", "pools.conda.size", number(flags.CondaPoolSize), condaSize},
		{"--socket", "socket", flags.Socket, text("socket", &c.Socket, absolute)},
	} {
		if o.value == "" {
			continue
		}
		c.Origins[o.key] = o.where
		if err := o.setting.set(o.value); err != nil {
			faults = append(faults, newFault(o.where, o.key, "%s", err))
		}
	}
	return faults
}

// Setting is one value in force, as `runt config show` tells it.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // a string, a number or a list of strings, as the file would say it
	Origin string `json:"origin"`
}

// Settings lists every value in the order of the documentation.
func (c *Config) Settings() []Setting {
	var out []Setting
	add := func(prefix string, settings []setting) {
		for _, s := range settings {
			origin, told := c.Origins[prefix+s.key]
			if !told {
				origin = "default"
			}
			out = append(out, Setting{prefix + s.key, s.get(), origin})
		}
	}
	add("", c.settings())
	for i := range c.Pools {
		p := &c.Pools[i]
		settings := p.settings()
		if p.Kind != KindConda {
			settings = slices.DeleteFunc(settings, func(s setting) bool { return s.key == "channels" })
		}
		add("pools."+p.Name+".", settings)
	}
	return out
}
