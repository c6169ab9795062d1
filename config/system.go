package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"runtimed/internal/statedir"
)

// Limits are the most that a user's configuration, variables and flags can ask for. In the administrator's file they
// hold for everybody; in a user's own they can only be lower.
type Limits struct {
	Size    int   // of each pool, and of the projects that are kept warm
	MaxSize int64 // bytes, of Build.MaxSize; 0: no bound
}

// SystemPath is the administrator's file, whose values are the defaults of every user. It is empty on Windows, where
// any user may make the folder that it would be in.
func SystemPath() string {
	if runtime.GOOS == "windows" {
		return ""
	}
	return "/etc/runt/config.toml"
}

// readSystem reads the administrator's file, if it is there. One that cannot be trusted or read does not count, and
// that is a warning: users could do nothing about it. A mistake in it is a fault with its line, as in their own.
func (c *Config) readSystem(path string) (faults Faults) {
	if path == "" {
		return nil
	}
	data, err := readFile(path, false)
	if err == nil && data != nil {
		err = ofRoot(filepath.Dir(path), path)
	}
	if err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s does not count: %v", path, err))
		return nil
	}
	if data == nil {
		return nil
	}
	c.System = path
	faults = c.parse(path, data)
	if where := c.Origins["cache_dir"]; where != "" {
		faults = append(faults, Fault{where, "cache_dir",
			"would be one folder for all users: set RUNTIMED_CACHE_DIR for each of them"})
	}
	return faults
}

// ofRoot refuses what others than root and this user could have written.
func ofRoot(paths ...string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			return pathErr.Err
		}
		if err != nil {
			return err
		}
		if uid, known := statedir.OwnerUID(info); known && uid != 0 && uid != os.Geteuid() {
			return fmt.Errorf("%s belongs to uid %d, and not to root", path, uid)
		}
		if perm := info.Mode().Perm(); perm&0o022 != 0 {
			return fmt.Errorf("others than root may write to %s (mode %04o)", path, perm)
		}
	}
	return nil
}

// limit lowers what is more than the limits allow.
func (c *Config) limit() {
	for i := range c.Pools {
		c.atMost("pools."+c.Pools[i].Name+".size", &c.Pools[i].Size, "limits.size", c.Limits.Size,
			c.Origins["limits.size"])
	}
	c.atMost("projects.warm", &c.Projects.Warm, "limits.size", c.Limits.Size, c.Origins["limits.size"])
	c.bytesAtMost("build.max_size", &c.Build.MaxSize, c.Limits.MaxSize, c.Origins["limits.max_size"])
}

// limitLimits lowers a user's limits to the administrator's, which were in force before the user's file was read.
func (c *Config) limitLimits(before Limits, size, maxSize string) {
	if c.atMost("limits.size", &c.Limits.Size, "limits.size", before.Size, size) {
		c.Origins["limits.size"] = size
	}
	if c.bytesAtMost("limits.max_size", &c.Limits.MaxSize, before.MaxSize, maxSize) {
		c.Origins["limits.max_size"] = maxSize
	}
}

// atMost lowers a value to a limit, which stands at by, and reports whether it had to.
func (c *Config) atMost(key string, value *int, limit string, most int, by string) bool {
	if *value <= most {
		return false
	}
	c.lowered(key, *value, limit, most, by)
	*value = most
	return true
}

// bytesAtMost is atMost for sizes, of which 0 is no bound.
func (c *Config) bytesAtMost(key string, value *int64, most int64, by string) bool {
	if most == 0 || *value > 0 && *value <= most {
		return false
	}
	c.lowered(key, showSize(*value), "limits.max_size", showSize(most), by)
	*value = most
	return true
}

// lowered notes where the limit stands. A value that nobody asked for is no reason for a warning.
func (c *Config) lowered(key string, wanted any, limit string, most any, by string) {
	if where := c.Origins[key]; where != "" {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s = %s is more than %s allows at %s, so it is %s", where, key,
			Literal(wanted), limit, by, Literal(most)))
	}
	c.limited[key] = by
}
