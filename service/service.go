// Package service has the system's own manager start the daemon: systemd on Linux, launchd on macOS, the task scheduler on
// Windows; each for one user and without any rights of root.
//
// A [Manager] looks and plans: it answers with [Step]s, and [Do] takes them. So a dry run is the plan alone, and to do a thing
// twice is an empty plan. The files are pure functions of a [Config].
package service

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"
)

// Config is what the service is made from.
type Config struct {
	Program  string // absolute path of runtimed, as the manager starts it
	Copies   []File // programs laid into a folder of ours first, Program among them; each has From
	Socket   string // the path that clients compute
	Log      string // where launchd sends what the daemon says before it has a log
	Vars     []Var  // set for the daemon
	OnDemand bool   // nothing runs from login on; the first who asks starts it
}

// Var is a variable of the daemon's environment.
type Var struct{ Name, Value string }

// Status is what there is of the service. Its JSON is what `runt service status --json` prints.
type Status struct {
	Manager   string       `json:"manager"` // "systemd", "launchd" or "schtasks"
	Installed bool         `json:"installed"`
	Enabled   bool         `json:"enabled"` // something of it is there from login: the daemon, or the socket that starts it
	OnDemand  bool         `json:"on_demand,omitempty"`
	Running   bool         `json:"running"`
	PID       int          `json:"pid,omitempty"` // where the manager tells
	Socket    SocketStatus `json:"socket"`
	UpToDate  bool         `json:"up_to_date"`       // the files are what install would write now
	Linger    *bool        `json:"linger,omitempty"` // systemd: it goes on after logout

	// Trouble is why the manager could not be asked; what it alone knows is then left at false.
	Trouble *Problem `json:"-"`
}

// SocketStatus is the socket that the manager holds for the daemon. Only systemd does so.
type SocketStatus struct {
	Installed bool `json:"installed"`
	Listening bool `json:"listening"`
}

// Manager is the system's service manager, for this user. Its methods change nothing: those that return steps say what to do.
type Manager interface {
	// Name is Status.Manager.
	Name() string
	// Check returns nil, or a *[Problem] with the next step where the manager cannot be used from here.
	Check(ctx context.Context) error
	// Status compares what there is with what want would be.
	Status(ctx context.Context, want Config) (Status, error)
	// Serves tells whether a service is installed that listens on socket. It reads files only.
	Serves(socket string) bool
	// Install also brings an older service up to date and has it run; no steps: all is so already.
	Install(ctx context.Context, want Config) ([]Step, error)
	// Uninstall stops it first; no steps: there is nothing of it.
	Uninstall(ctx context.Context) ([]Step, error)
	Start(ctx context.Context) ([]Step, error)
	// Stop includes whatever would start the daemon again.
	Stop(ctx context.Context) ([]Step, error)
	Restart(ctx context.Context) ([]Step, error)
	// Lacks names variables of this shell that builds heed, and that a service does not get.
	Lacks(ctx context.Context) []string
	// Said is what the manager kept of the daemon's last words since a time; empty where it keeps none.
	Said(ctx context.Context, since time.Time) string
}

// Problem is an error with its next step.
type Problem struct {
	Message string
	Hint    string
	Output  string // what a command of the manager said
}

// Error is the message alone.
func (p *Problem) Error() string { return p.Message }

// Explain gives what a report of it shows besides.
func (p *Problem) Explain() (hint, output string) { return p.Hint, p.Output }

// New is the manager of the system goos. env is this shell's environment.
func New(goos string, env func(string) string, run Runner) (Manager, error) {
	who := person{env: env, uid: os.Getuid()}
	switch goos {
	case "linux":
		return &systemd{person: who, run: run, root: "/"}, nil
	case "darwin":
		return &launchd{person: who, run: run}, nil
	case "windows":
		return &scheduler{env: env, run: run}, nil
	}
	return nil, &Problem{Message: "runt knows no service manager of " + goos, Hint: withoutService}
}

const withoutService = "without a service it works too: runt daemon start"

// passed are the variables that a service takes over from who installs it, where they are set: those that the daemon reads itself,
// and the folders by which it and its tools find files. All of them decide what a daemon of this shell would be. Not PATH, which
// has an activated environment in it as often as not, and not the settings of proxies and indexes, whose URLs have passwords.
var passed = []string{
	"RUNTIMED_CONFIG", "RUNTIMED_SOCKET", "RUNTIMED_CACHE_DIR", "RUNTIMED_LOG_LEVEL", "RUNTIMED_UV_POOL_SIZE", "RUNTIMED_CONDA_POOL_SIZE",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
}

// Variables are what a service installed from this environment passes on to the daemon.
func Variables(env func(string) string) []Var {
	var vars []Var
	for _, name := range passed {
		value := env(name)
		if value == "" || strings.HasPrefix(name, "XDG_") && !strings.HasPrefix(value, "/") {
			continue
		}
		vars = append(vars, Var{name, value})
	}
	return vars
}

// absent are variables whose absence from a service is noticed by builds that worked from the shell.
var absent = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NATIVE_TLS", "PIP_INDEX_URL",
}

// lacks are those of absent that this shell has and the manager's services have not.
func lacks(env func(string) string, have func(name string) bool) []string {
	return slices.DeleteFunc(slices.Clone(absent), func(name string) bool { return env(name) == "" || have(name) })
}
