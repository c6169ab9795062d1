// Package config reads the configuration: flags override the environment, which overrides the user's file, which
// overrides the administrator's, which overrides defaults. [Load] reports all faults at once, each with its place.
package config

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

const (
	KindUV    = "uv"
	KindConda = "conda"
)

const (
	MaxPoolSize = 64
	defaultSize = 3
	maxPreload  = 100              // modules; the list is one message to a standby
	minIdle     = 10 * time.Second // a page that is loaded again has no connection for a moment
)

// Config is the configuration in force.
type Config struct {
	Path        string // the user's file that was read, or the one that would be
	System      string // the administrator's file; empty: there is none that counts
	Socket      string // from the flag only; empty: where clients look
	CacheDir    string // empty: the default state directory
	LogLevel    string
	IdleExit    time.Duration // 0: never
	StandbyIdle time.Duration // 0: never
	Build       Build
	UV          UV
	Conda       Conda
	Projects    Projects
	Limits      Limits
	Pools       []Pool // uv, conda, then the named ones in the files' order

	// Chosen is the Python of uv pools that name none; without a path: none was chosen yet. It is no part of the
	// configuration, and only shown beside it.
	Chosen statedir.Python
	// State is the state directory, which an empty cache_dir stands for; shown in the same way. Empty if unknown.
	State string

	// Origins says where values come from, by dotted key: a flag, a variable or FILE:LINE. Other keys have their
	// defaults.
	Origins map[string]string

	// Warnings say what does not count as it was written, each in a line.
	Warnings []string

	limited map[string]string // where the limit stands that lowered a value, by the value's key
	starts  bool              // see LoadToStart
}

// Build are the limits of builds.
type Build struct {
	Parallel int
	Timeout  time.Duration
	MinFree  int64 // bytes; 0: no bound
	MaxSize  int64 // bytes; 0: no bound
	LockAge  time.Duration
}

type UV struct {
	Path     string // empty: looked up, then fetched
	IndexURL string // empty: uv's own rules
	Link     string // "auto" or "copy"
	Store    string // a folder of wheels that others keep; empty: none
}

type Conda struct {
	Provider string
	Path     string
}

// Projects say what is kept for notebooks' projects.
type Projects struct {
	Warm int // the last projects used that keep an environment ready
}

type Pool struct {
	Name     string
	Kind     string
	Size     int    // 0: off
	Python   string // a version or an absolute path; empty: the daemon chooses
	Packages []string
	Channels []string // of conda pools only
	MaxAge   time.Duration
	Standby  int           // ready environments that hold a standby kernel
	Preload  []string      // modules that it has imported
	Idle     time.Duration // an idle kernel of a closed notebook ends after this long; 0: never
	Lock     string        // path of the lock file that says all that is installed; empty: packages are resolved
	Locked   *pyreq.Lock   // what is in it, or nil
	Unlocked string        // why the lock file cannot be used, with its place; see LoadToStart
}

// Flags are those of the command line. Empty and nil: not given.
type Flags struct {
	Config, Socket, CacheDir  string
	UVPoolSize, CondaPoolSize *int
	LogLevel                  string
}

// FlagsFor returns the flags with which [Load] reads the file at path. They are empty where env alone leads there, or
// nothing is there.
func FlagsFor(path string, env func(string) string) Flags {
	usual, err := FilePath(Flags{}, env)
	if (err != nil || usual != path) && safefile.Exists(path) {
		return Flags{Config: path}
	}
	return Flags{}
}

// FilePath is the file that [Load] reads, if it is there.
func FilePath(flags Flags, env func(string) string) (string, error) {
	if flags.Config != "" {
		return filepath.Abs(flags.Config)
	}
	if path := env("RUNTIMED_CONFIG"); path != "" {
		if !filepath.IsAbs(path) {
			return "", Faults{{Where: "RUNTIMED_CONFIG", Text: "must be an absolute path, got " + show(path)}}
		}
		return path, nil
	}
	variable, dir := "HOME", ".config/runt"
	if runtime.GOOS == "windows" {
		variable, dir = "APPDATA", "runt" // whatever XDG_CONFIG_HOME says: no task could have it
	} else if dir := env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "runt", "config.toml"), nil
	}
	home := env(variable)
	switch {
	case home == "" && variable == "HOME":
		return "", Faults{{Text: statedir.NoHome + ", so there is no place for the configuration: set it, or " +
			"RUNTIMED_CONFIG, RUNTIMED_SOCKET and RUNTIMED_CACHE_DIR"}}
	case !filepath.IsAbs(home):
		return "", Faults{{Where: variable,
			Text: "is needed to find the configuration, and must be an absolute path, got " + show(home)}}
	}
	return filepath.Join(home, dir, "config.toml"), nil
}

// Load returns the configuration in force. Its error is a [Faults].
func Load(flags Flags, env func(string) string) (*Config, error) {
	return loadBehind(SystemPath(), flags, env)
}

// LoadToStart is Load for a daemon that starts. There a lock file that cannot be used is no fault, since it would cost
// the other pools: its own has Unlocked, and cannot be built.
func LoadToStart(flags Flags, env func(string) string) (*Config, error) {
	c := defaults()
	c.starts = true
	return c.load(SystemPath(), flags, env)
}

// Defaults are those of this program, whatever the files say.
func Defaults() *Config {
	c := defaults()
	c.finish()
	return c
}

// loadBehind is Load with the administrator's file in another place.
func loadBehind(system string, flags Flags, env func(string) string) (*Config, error) {
	return defaults().load(system, flags, env)
}

func (c *Config) load(system string, flags Flags, env func(string) string) (*Config, error) {
	path, err := FilePath(flags, env)
	if err != nil {
		return nil, err
	}
	data, err := readFile(path, flags.Config != "" || env("RUNTIMED_CONFIG") != "")
	if err != nil {
		return nil, Faults{{Where: path, Text: err.Error()}}
	}
	c.Path = path
	faults := c.readSystem(system)
	limits, size, maxSize := c.Limits, c.Origins["limits.size"], c.Origins["limits.max_size"]
	faults = append(faults, c.parse(path, data)...)
	c.limitLimits(limits, size, maxSize)
	faults = append(faults, c.override(flags, env)...)
	faults = append(faults, c.finish()...)
	c.limit()
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

func defaults() *Config {
	parallel := max(1, runtime.GOMAXPROCS(0)/2)
	return &Config{
		LogLevel:    "info",
		IdleExit:    30 * time.Minute,
		StandbyIdle: time.Hour,
		Build:       Build{Parallel: parallel, Timeout: 10 * time.Minute, MinFree: 1 << 30, LockAge: 24 * time.Hour},
		UV:          UV{Link: "auto"},
		Conda:       Conda{Provider: "auto"},
		Projects:    Projects{Warm: 4},
		Limits:      Limits{Size: MaxPoolSize},
		Pools:       []Pool{newPool(KindUV, KindUV), newPool(KindConda, KindConda)},
		Origins:     map[string]string{},
		limited:     map[string]string{},
	}
}

// Optional reports whether nobody asked for the pool: it is that of conda, nothing is configured that is about it, and
// there is another one.
func (c *Config) Optional(pool string) bool {
	for key := range c.Origins {
		if strings.HasPrefix(key, "pools."+pool+".") || strings.HasPrefix(key, "conda.") {
			return false
		}
	}
	return pool == KindConda && slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Name != pool && p.Size > 0 })
}

func newPool(name, kind string) Pool {
	return Pool{Name: name, Kind: kind, Size: defaultSize, MaxAge: 48 * time.Hour, Standby: 1, Preload: []string{},
		Packages: []string{"ipykernel", "ipywidgets", "pip"}}
}

func (c *Config) finish() (faults Faults) {
	for i := range c.Pools {
		p := &c.Pools[i]
		began := c.Origins["pools."+p.Name]
		delete(c.Origins, "pools."+p.Name)
		key := func(name string) string { return "pools." + p.Name + "." + name }
		add := func(name, format string, args ...any) {
			faults = append(faults, newFault(c.Origins[key(name)], key(name), format, args...))
		}
		if p.Kind == "" {
			if _, tried := c.Origins[key("kind")]; !tried {
				faults = append(faults, Fault{began, key("kind"), `is missing; it is "uv" or "conda"`})
			}
			continue
		}
		if p.Kind == KindConda {
			if filepath.IsAbs(p.Python) {
				add("python", "must be a version like \"3.12\" in a conda pool, got %s", show(p.Python))
			}
			if p.Channels == nil {
				p.Channels = []string{"conda-forge"}
			}
			if len(p.Channels) == 0 {
				add("channels", "must name one at least")
			}
		} else if p.Channels != nil {
			add("channels", "is for conda pools only")
		}
		unusable := func(name, problem string) {
			if !c.starts {
				add(name, "%s", problem)
			} else {
				p.Unlocked = newFault(c.Origins[key(name)], key(name), "%s", problem).String()
				c.Warnings = append(c.Warnings, p.Unlocked)
			}
			p.Locked = nil
		}
		asked := *p
		if p.Lock != "" {
			switch at, problem := c.pin(p); {
			case problem == "", c.unpin(p, asked, at, problem):
			case !filepath.IsAbs(p.Lock):
				add(at, "%s", problem)
			default:
				unusable(at, problem)
			}
		}
		if problem := checkPackages(p.Packages, p.Kind); problem != "" {
			add("packages", "%s", problem)
		}
		if !names(p.Packages, "ipykernel") {
			p.Packages = append(p.Packages, "ipykernel")
		}
		if problem := p.unlocked(); problem != "" && !c.unpin(p, asked, "packages", problem) {
			unusable("lock", problem)
		}
		if n := len(p.Preload); n > maxPreload {
			add("preload", "must name at most %d modules, got %d", maxPreload, n)
		}
		if p.Idle > 0 && p.Idle < minIdle {
			add("idle", `must be at least %s, or "0" for never, got %q`, minIdle, p.Idle.String())
		}
	}
	if c.Conda.Provider == "rattler" && c.Conda.Path != "" {
		faults = append(faults, newFault(c.Origins["conda.path"], "conda.path",
			"is for the other providers: rattler has no program of its own"))
	}
	return faults
}

// Fault is one mistake in the configuration.
type Fault struct {
	Where string // FILE:LINE, a flag or a variable; empty if Text says it
	Key   string // the dotted key; empty if Where says it
	Text  string
}

func (f Fault) String() string {
	switch {
	case f.Where == "":
		return f.Text
	case f.Key == "":
		return f.Where + ": " + f.Text
	}
	return f.Where + ": " + f.Key + ": " + f.Text
}

// newFault leaves out the key of a flag or a variable, which name it.
func newFault(where, key, format string, args ...any) Fault {
	if strings.HasPrefix(where, "--") || strings.HasPrefix(where, "RUNTIMED_") {
		key = ""
	}
	return Fault{where, key, fmt.Sprintf(format, args...)}
}

type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Explain returns the next step.
func (f Faults) Explain() (hint, output string) { return "check it again with: runt config check", "" }
