package pool

import (
	"strings"

	"runtimed/pool/builder"
)

// ofNeeds is the failure as who asked for more than a pool gives can mend it.
func ofNeeds(e *builder.Error) *builder.Error {
	hint, ok := map[string]string{
		builder.CausePackageNotFound: "correct the name, or name the index that has it in the configuration",
		builder.CauseUnsatisfiable:   "loosen the versions that were asked for, or ask for another python; the output says what they are at odds with",
		builder.CausePythonMissing:   "ask for another python, or install that one",
		builder.CauseNetwork:         "check the network, the proxy and the package index, and ask again",
		builder.CauseVerifyFailed:    "what was asked for may not go together with the kernel; ask for other versions",
	}[e.Cause]
	said := *e
	switch {
	case ok:
		said.Hint = hint
	case strings.Contains(e.Hint, builder.ByItself):
		said.Hint = "ask again; the daemon's log has more: runt daemon logs"
	default:
		said.Hint = strings.ReplaceAll(e.Hint, "the pool's packages", "what was asked for")
	}
	return &said
}
