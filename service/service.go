// Package service has the system's own manager start the daemon, for one user and without root: systemd on Linux,
// launchd on macOS, the task scheduler on Windows.
//
// A [Manager] plans: it returns [Step]s, and [Do] takes them. A dry run prints the plan, and doing a thing twice
// is an empty plan.
package service

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"
)

// Config describes the service to install.
type Config struct {
	Program  string // absolute path of runtimed, as the manager starts it
	Copies   []File // programs to copy into a folder of ours first, Program among them
	Socket   string
	Log      string // where launchd writes the output of the daemon
	Vars     []Var
	OnDemand bool // the daemon starts on the first request, not at login
}

// Var is a variable of the daemon's environment.
type Var struct{ Name, Value string }

// Status is the state of the service. `runt service status --json` prints it.
type Status struct {
	Manager   string       `json:"manager"` // "systemd", "launchd" or "schtasks"
	Installed bool         `json:"installed"`
	Enabled   bool         `json:"enabled"` // the daemon, or the socket that starts it, is there from login on
	OnDemand  bool         `json:"on_demand,omitempty"`
	Package   bool         `json:"package,omitempty"` // its files are those of the package, enabled for every user
	Running   bool         `json:"running"`
	PID       int          `json:"pid,omitempty"` // if the manager tells
	Socket    SocketStatus `json:"socket"`
	UpToDate  bool         `json:"up_to_date"`       // install would write nothing
	Linger    *bool        `json:"linger,omitempty"` // systemd: it keeps running after logout

	// Trouble is why the manager could not be asked; what only the manager knows is false then.
	Trouble *Problem `json:"-"`

	// Failed: the manager has given up on the daemon. Only systemd tells.
	Failed bool `json:"-"`
}

type SocketStatus struct {
	Installed bool `json:"installed"`
	Listening bool `json:"listening"`
}

// Manager is the system's service manager, for this user. Its methods only read.
type Manager interface {
	// Name is Status.Manager.
	Name() string
	// Check returns a *[Problem] with the next step if the manager cannot be used from here.
	Check(ctx context.Context) error
	Status(ctx context.Context, want Config) (Status, error)
	// Serves reports whether a service is installed that listens on socket. It reads files only.
	Serves(socket string) bool
	// Install installs or updates the service, and starts it.
	Install(ctx context.Context, want Config) ([]Step, error)
	// Uninstall stops the service first.
	Uninstall(ctx context.Context) ([]Step, error)
	Start(ctx context.Context) ([]Step, error)
	// Stop also stops what would start the daemon again.
	Stop(ctx context.Context) ([]Step, error)
	Restart(ctx context.Context) ([]Step, error)
	// Lacks names variables of this shell that affect builds, and that the service does not get.
	Lacks(ctx context.Context) []string
	// Said is the output of the daemon since a time, if the manager keeps it.
	Said(ctx context.Context, since time.Time) string
}

// ask is look, or nothing if the manager cannot be used from here.
func ask[T any](ctx context.Context, m Manager, look func(context.Context) (T, error)) (found T, err error) {
	if m.Check(ctx) == nil {
		found, err = look(ctx)
	}
	return found, err
}

// Problem is an error with its next step.
type Problem struct {
	Message string
	Hint    string
	Output  string // what a command of the manager said
	Absent  bool   // the manager does not run on this system at all
}

func (p *Problem) Error() string { return p.Message }

func (p *Problem) Explain() (hint, output string) { return p.Hint, p.Output }

// New is the manager of the system goos. env is this shell's environment.
func New(goos string, env func(string) string, run Runner) (Manager, error) {
	who := person{env, os.Getuid(), run}
	switch goos {
	case "linux":
		return &systemd{who, "/"}, nil
	case "darwin":
		return &launchd{who}, nil
	case "windows":
		return &scheduler{who}, nil
	}
	return nil, &Problem{Message: "runt knows no service manager of " + goos, Hint: withoutService}
}

const withoutService = "without a service it works too: runt daemon start"

// passed are the variables that a service gets from the shell that installs it. Not PATH, which often has an
// activated environment in it, and not proxies and indexes, whose URLs hold passwords.
var passed = []string{
	"RUNTIMED_CONFIG", "RUNTIMED_SOCKET", "RUNTIMED_CACHE_DIR", "RUNTIMED_LOG_LEVEL", "RUNTIMED_UV_POOL_SIZE",
	"RUNTIMED_CONDA_POOL_SIZE",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
}

// Variables are those that a service installed from this environment sets for the daemon.
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

// absent are variables without which builds may fail that work from the shell.
var absent = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NATIVE_TLS",
	"PIP_INDEX_URL",
}

func lacks(env func(string) string, have func(name string) bool) []string {
	return slices.DeleteFunc(slices.Clone(absent), func(name string) bool { return env(name) == "" || have(name) })
}
