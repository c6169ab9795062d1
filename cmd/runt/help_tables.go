package main

import (
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"runtimed/config"
	"runtimed/internal/failure"
)

// entry is a line of a table. The help is made of these tables, the man pages of the help;
// a test holds docs/operations.md to them.
type entry struct {
	Name    string `json:"name"`
	Default string `json:"default,omitempty"` // as the configuration file would say it
	Flag    string `json:"flag,omitempty"`    // of `runtimed run`, or of a command
	Text    string `json:"text"`
}

var exitCodes = []struct {
	code int
	when string
}{
	{failure.OK, "done"},
	{failure.Failed, "any other failure"},
	{failure.Usage, "wrong usage, or wrong params (also a configuration that runt daemon reload refuses)"},
	{failure.Unreachable, "no daemon, or one that is stopping or does not answer within 3 s"},
	{failure.NoEnvironment, "no environment in time, or pools that are not full in time"},
	{failure.OtherVersion, "the versions of the daemon and runt do not understand each other"},
	{failure.BuildFailed, "builds fail"},
	{failure.Unknown, "no such pool, no such environment, or no project"},
	{failure.NotExecutable, "runt run: the command cannot be executed"},
	{failure.NotFound, "runt run: there is no such command"},
	{failure.Interrupted, "interrupted"},
}

func exitEntries() (out []entry) {
	for _, e := range exitCodes {
		out = append(out, entry{Name: strconv.Itoa(e.code), Text: e.when})
	}
	return out
}

// variables are those of our own, with the flags that count before them.
var variables = []entry{
	{Name: "RUNTIMED_CONFIG", Flag: "--config FILE", Text: "the configuration file"},
	{Name: "RUNTIMED_SOCKET", Flag: "--socket PATH",
		Text: "the socket. Clients read the variable too; the flag is for tests: clients ignore it"},
	{Name: "RUNTIMED_CACHE_DIR", Flag: "--cache-dir DIR",
		Text: "cache_dir: where environments, lock files and tools are"},
	{Name: "RUNTIMED_LOG_LEVEL", Flag: "--log-level LEVEL", Text: "log_level: debug, info, warn or error"},
	{Name: "RUNTIMED_UV_POOL_SIZE", Flag: "--uv-pool-size N",
		Text: "pools.uv.size: environments kept ready; 0 turns the pool off"},
	{Name: "RUNTIMED_CONDA_POOL_SIZE", Flag: "--conda-pool-size N",
		Text: "pools.conda.size: the same for the pool conda"},
	{Name: "RUNTIMED_NO_START", Flag: "--no-start",
		Text: "not empty: runt pool acquire, runt pool fill, runt run, runt kernel and clients with autostart start " +
			"no daemon"},
	{Name: "RUNTIMED_STANDBY", Flag: "--no-standby",
		Text: "0: runt kernel and the Jupyter provisioner start plain kernels, even if standby kernels are ready"},
}

var otherVariables = []entry{
	{Name: "HOME",
		Text: "where the state directory and the configuration are, unless the variables above and below say " +
			"otherwise; if it is unset or empty, what the user database has for this user"},
	{Name: "XDG_CACHE_HOME", Text: "if absolute, the state directory is the folder runt in it; not on macOS"},
	{Name: "XDG_CONFIG_HOME", Text: "if absolute, the configuration is runt/config.toml in it"},
	{Name: "LOCALAPPDATA, APPDATA, USERNAME",
		Text: "on Windows, where HOME and XDG_… do not count: the state directory is the folder runt in the first, " +
			"the configuration is runt\\config.toml in the second, and the third names the pipe"},
	{Name: "NO_COLOR", Text: "not empty: no colours in a log on a terminal"},
	{Name: "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, NETRC, SSL_CERT_FILE, UV_INDEX, UV_DEFAULT_INDEX, PIP_…",
		Text: "and others say how the daemon reaches the network and the package index. It has those of whoever " +
			"started it"},
}

// keyTexts says what each key means; the package config knows its default.
var keyTexts = []entry{
	{Name: "log_level", Text: "debug, info, warn or error: how much is logged"},
	{Name: "idle_exit", Text: `a daemon that was started on demand ends after this long unused; "0": never`},
	{Name: "standby_idle",
		Text: "standby kernels end when nobody has asked for an environment for this long; \"0\": never"},
	{Name: "cache_dir",
		Text: "an absolute path: where environments, lock files and tools are; empty: the state directory. Made " +
			"with mode 0700; refused if open to others"},
	{Name: "build.parallel", Default: "half the cores", Text: "1 to 256: builds at once, of all pools together"},
	{Name: "build.timeout", Text: "from 1s: for one build, downloads included"},
	{Name: "build.min_free", Text: `a size: no build starts with less free space; "": no limit`},
	{Name: "build.max_size",
		Text: "a size: no build starts that would take all environments beyond this; empty: no limit"},
	{Name: "build.lock_age", Text: "from 1s: a lock file older than this is resolved again in the background"},
	{Name: "uv.path", Text: "an absolute path: the uv to use; empty: looked up, else fetched"},
	{Name: "uv.index_url", Text: "a URL: the package index, for uv and for fetching it; empty: their own rules"},
	{Name: "uv.link", Text: "auto or copy; copy: no file is shared between environments"},
	{Name: "uv.store",
		Text: "an absolute path: a folder that runt store fill has filled, asked before the index; empty: none"},
	{Name: "conda.provider",
		Text: "auto, micromamba, mamba, conda or rattler: what builds conda environments; auto takes the first that " +
			"works"},
	{Name: "conda.path", Text: "an absolute path: the provider's program; empty: looked up"},
	{Name: "projects.warm", Text: "0 to 64: of so many of the last projects used, one environment is kept ready"},
	{Name: "limits.size",
		Text: "1 to 64: no pool keeps more than this ready, and no more projects are kept warm"},
	{Name: "limits.max_size", Text: "a size: build.max_size is at most this; empty: no limit"},
	{Name: "pools.NAME.kind", Text: "uv or conda; required for pools of your own"},
	{Name: "pools.NAME.size", Text: "0 to 64: environments kept ready; 0 turns the pool off"},
	{Name: "pools.NAME.python",
		Text: "like 3.12 or 3.12.4, or for uv an absolute path; empty: the newest suitable one, chosen once"},
	{Name: "pools.NAME.packages",
		Text: "requirements, as in a requirements file, without options. ipykernel is always added; without pip, " +
			"%pip does not work in a notebook"},
	{Name: "pools.NAME.channels", Text: "names or URLs; conda only"},
	{Name: "pools.NAME.lock", Text: "a lock file that says all that is installed, in place of packages"},
	{Name: "pools.NAME.max_age", Text: "from 1s: a ready environment older than this is replaced"},
	{Name: "pools.NAME.standby",
		Text: "0 to 64: ready environments that hold a standby kernel, at most size; 0: kernels start as usual"},
	{Name: "pools.NAME.preload",
		Text: "up to 100 modules, like pandas and matplotlib.pyplot, that standby kernels have imported"},
	{Name: "pools.NAME.idle",
		Text: "from 10s: Jupyter's server ends a kernel, and so its environment, that was idle for this long since " +
			"its notebook was closed; \"0\": never"},
}

// keyEntries are keyTexts with the defaults. A default that both usual pools share is shown once.
func keyEntries() []entry {
	defaults := map[string][]string{}
	for _, s := range config.Defaults().Settings() {
		key, pool := s.Key, ""
		if rest, ok := strings.CutPrefix(s.Key, "pools."); ok {
			pool, key, _ = strings.Cut(rest, ".")
			key = "pools.NAME." + key
		}
		value := config.Literal(s.Value)
		if had := defaults[key]; len(had) == 0 {
			defaults[key] = []string{value}
		} else if had[0] != value {
			defaults[key] = append(had, value+" for "+pool)
		}
	}
	out := make([]entry, len(keyTexts))
	for i, e := range keyTexts {
		if e.Default == "" {
			e.Default = strings.Join(defaults[e.Name], ", ")
		}
		out[i] = e
	}
	return out
}

// examples are shown under the command that they begin with.
var examples = []struct{ line, text string }{
	{"runt status", "Which daemon answers, how many environments are ready, and why a pool fails."},
	{"runt pool status", "The pools alone."},
	{"runt pool status --verbose", "Also its standby kernels, and why there are fewer than it should have."},
	{`python=$(runt pool acquire --label "trying things")`,
		"Take an environment; it is the shell's until the shell ends."},
	{"runt pool release uv-2e17bf8f", "Give one back before that."},
	{"runt pool watch --json", "A line for each change, for a program."},
	{"runt pool fill --wait --timeout 20m", "Go on once the pools are full, as in a step that builds an image."},
	{`runt run -- python -c 'print("hello")'`, "A command in an environment of its own, which ends with it."},
	{"runt run --with pandas --python 3.12 -- python", "With a package, and a Python, that the pool does not have."},
	{"runt run script.py --fast", "A script, with what its own metadata (PEP 723) asks for; --fast is the script's."},
	{"runt run --pool science --wait 5m -- jupyter lab", "The same, from another pool, with patience."},
	{"runt run --project -- pytest", "In an environment of the project that this folder is in, as its lock file says."},
	{"runt project", "Which project that is, and what it would get."},
	{"runt kernelspec install", "Have every notebook front-end offer the warm kernels."},
	{"runt kernelspec install --pool science --on-restart fresh",
		"One that begins with a fresh environment each time."},
	{"runt env list --state leased", "Who has what."},
	{"runt env gc --dry-run", "What nobody needs any more."},
	{"runt daemon logs -f", "Follow the log."},
	{"runt daemon logs --level warn --since 2h", "What went wrong in the last two hours."},
	{"runt daemon log-level debug", "Log more, until the next start."},
	{"runt daemon reload", "Apply a changed configuration at once."},
	{"runt store fill /srv/runt/store", "Have the next user's first environment download nothing."},
	{"runt config show", "Every value in force, and where it comes from."},
	{`runt rpc pool.acquire '{"pool": "uv", "owner_pid": 4242}'`, "Any method of the daemon, with its params."},
	{"runt bugreport --output report.tar.gz",
		"What helps to find a fault, without passwords; read it before you send it."},
	{"runt help exit-codes", "What an exit code means."},
}

func examplesOf(path string) (out []entry) {
	for _, e := range examples {
		if at := strings.Index(e.line, path); at >= 0 && strings.HasPrefix(e.line[at+len(path):]+" ", " ") {
			out = append(out, entry{Name: e.line, Text: e.text})
		}
	}
	return out
}

// longHelp has the help texts that are too long for a struct tag.
var longHelp = kong.Vars{
	"bugreportOutput": "Write it here (default: runt-bugreport-DATE.tar.gz in this folder).",
	"daemonAgain":     "Restart the daemon, as after an upgrade. Environments in use stay in use.",
	"daemonStartAuto": "Have it end by itself once nobody has needed it for idle_exit, as one that a command started.",
	"envListState":    "In this state only: warming, ready, leased or removing.",
	"kernelNoStandby": "Start a new process, even if a standby kernel is ready.",
	"kernelPool":      "Take the environment from this pool (default: uv).",
	"kernelOnRestart": "keep: a kernel that is restarted finds its environment again, with what was installed in " +
		"it. fresh: it gets another.",
	"kernelspecInstallOnRestart": "keep: a kernel that is restarted finds its environment again. fresh: it gets " +
		"another.",
	"specPlacePrefix":     "For the Jupyter in DIR: in DIR/share/jupyter/kernels.",
	"daemonLogsLevel":     "Only lines of this level or above: debug, info, warn or error.",
	"daemonLogsSince":     "Only lines since this time: 30m, 2h, 7d, 15:04, 2006-01-02 or 2006-01-02T15:04.",
	"cliHelp":             "Explain a command, the exit codes, the environment variables or the configuration.",
	"poolAcquireOwnerPID": "Lease it to this process (default: the calling shell). The lease ends with it.",
	"runCommand": "The command and its arguments; a script, which is a file that ends with .py; -m and a module; or " +
		"-, a script on standard input.",
	"needWith": "Add this package: numpy, 'rich>=13,<14'. May be repeated; commas separate " +
		"several.",
	"needWithRequirements": "Add what this requirements file names (-: standard input).",
	"projectDir":           "A folder, or a file in it (default: the present folder).",
	"runHelp":              "Run a command in an environment of its own.",
	"kernelHelp":           "Run as a notebook's kernel; a front-end starts it.",
	"needProject": "Make it from what the project in DIR or above says it needs (default: from the notebook's " +
		"folder, else the present one). See: runt project.",
	"needPython":  "Use this Python: 3.12, '>=3.11,<3.14' or a path (default: the pool's).",
	"serviceStop": "Stop the service until the next login. Environments in use stay in use.",
}
