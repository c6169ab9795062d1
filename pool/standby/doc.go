// Package standby starts and watches standby kernels: Pythons that have imported a kernel, and become one when a client
// orders it on their socket. docs/protocol.md has the order.
//
// The process that checks a build's imports (check.py) may stay and be the standby (the other files), so that a standby
// costs a build nothing, unless the last callers had other variables than builds have. A socket pair, the lifeline,
// connects it to the daemon, and ends it with the daemon, however that ends. Once it is a kernel, its caller's
// connection takes the place of the lifeline.
package standby

import _ "embed"

// CheckScript is the import check, for python -c. It answers with Says on stdout. [CheckArgs] are its arguments.
//
//go:embed check.py
var CheckScript string

// CheckArgs are the arguments of the import check: whether the .pyc files were compiled before, and of which modules
// they are to be compiled beside the kernel's.
func CheckArgs(again bool, modules []string) []string {
	if again {
		return []string{"again"}
	}
	return append([]string{"compile"}, modules...)
}

// MarkEnv is set in the environment of every standby, to the environment that it is of. The next daemon ends those
// whose environment nobody leases.
const MarkEnv = "RUNT_STANDBY_OF"

// Says is the answer of the import check.
type Says struct {
	Version      string   `json:"version"`
	SitePackages string   `json:"site_packages"`
	Sentinels    []string `json:"sentinels"` // files whose state shows damage
}

// Command starts a standby.
type Command struct {
	Python string   // of the environment
	Env    string   // its folder
	Dir    string   // the working directory: empty, and ours
	Vars   []string // the variables, activated
	Args   []string // see CheckArgs
}

// Event is what a standby tells after it was asked to stay.
type Event struct {
	Ready   bool     // it waits for its order
	Faults  []string // with Ready or an end: the modules that could not be imported ahead, and why
	Adopted bool     // it is a kernel
	Refused string   // why a caller could not have it; it ends
	// Wanted are the variables that the caller would have it started with; nil: without it.
	Wanted map[string]*string
	Ended  bool // the last event
	// Without is a module for which it ended: one that must not be imported ahead. Faults say why.
	Without string
	Output  string
}
