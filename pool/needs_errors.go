package pool

import "strings"

// ofNeeds is the failure as who asked for more than a pool gives can mend it.
func ofNeeds(e *BuildError) *BuildError {
	hint, ok := map[string]string{
		CausePackageNotFound: "correct the name, or name the index that has it in the configuration",
		CauseUnsatisfiable:   "loosen the versions that were asked for, or ask for another python; the output says what they are at odds with",
		CausePythonMissing:   "ask for another python, or install that one",
		CauseNetwork:         "check the network, the proxy and the package index, and ask again",
		CauseVerifyFailed:    "what was asked for may not go together with the kernel; ask for other versions",
	}[e.Cause]
	said := *e
	switch {
	case ok:
		said.Hint = hint
	case strings.Contains(e.Hint, byItself):
		said.Hint = "ask again; the daemon's log has more: runt daemon logs"
	default:
		said.Hint = strings.ReplaceAll(e.Hint, "the pool's packages", "what was asked for")
	}
	return &said
}
