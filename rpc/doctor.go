package rpc

import "runtimed/internal/statedir"

// Check is one finding of runt doctor. It does not travel on the socket: runtimed prints a list of them, and runt adds
// its own.
type Check struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // one of the Check constants
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`  // the next step
	Fixed   string `json:"fixed,omitempty"` // what was repaired
}

// The answers of a [Check], each graver than the one before.
const (
	CheckOK      = "ok"      // it was looked at, and is as it should be
	CheckSkipped = "skipped" // it was not tested; the message says why
	CheckNote    = "note"    // nothing has to be done, or nobody asked for what does not work here
	CheckWarning = "warning" // it works, and something is not as it should be
	CheckProblem = "problem" // what is needed or was configured does not work
)

// UnneededConda is the next step where the pool of conda does not work and nobody asked for it: after the hint, if
// there is one.
func UnneededConda(hint string) string {
	const off = "if you need no conda environments: size = 0 in [pools.conda] of the configuration"
	if hint == "" {
		return off
	}
	return hint + "; " + off
}

// StoreFilled is what runtimed prints for `runt store fill`. It does not travel on the socket either.
type StoreFilled struct {
	Dir     string   `json:"dir"`
	Pools   []string `json:"pools"`
	Wheels  int      `json:"wheels"` // for these pools, and that of uv
	Bytes   int64    `json:"bytes"`
	Without []string `json:"without,omitempty"` // distributions that have no wheel for this machine
	Error   string   `json:"error,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Output  string   `json:"output,omitempty"`
}

// Purged is what runtimed prints for `runt service uninstall --purge`. It does not travel on the socket either.
type Purged struct {
	Places []string         `json:"places"` // the folders that things were kept in
	Paths  []string         `json:"paths"`  // what would be removed, where that was asked
	Stays  []statedir.Stays `json:"stays"`
	Held   bool             `json:"held"`   // a daemon runs, so nothing is removed
	InUse  bool             `json:"in_use"` // an environment is, so nothing is removed
	Error  string           `json:"error"`
}
