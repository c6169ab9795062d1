package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"runtimed/internal/project"
)

// Needs is what an acquire asks for beyond its pool, or for a project in place of its pool.
type Needs struct {
	// requirements (PEP 508), sorted and unique; for conda match specs, and requirements after pyreq.CondaPyPI
	Packages []string `json:"packages"`
	// empty: the pool's; else a version, specifiers like ">=3.11,<3.14", or an absolute path
	Python         string `json:"python,omitempty"`
	RequiresPython string `json:"fits,omitempty"` // specifiers for a Python at an absolute path

	Hashed []string `json:"hashed,omitempty"` // as in Spec

	Project *project.Project `json:"project,omitempty"`
}

// None reports whether the pool alone will do.
func (n Needs) None() bool { return len(n.Packages) == 0 && n.Python == "" && n.Project == nil }

// Key names the pool derived from home for these needs.
func (n Needs) Key(home string) string {
	data, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings always marshal
	}
	sum := sha256.Sum256(data)
	return home + "+" + hex.EncodeToString(sum[:6])
}

// State names what is the same in all states of a project: all but the content of its files.
func (n Needs) State(home string) string {
	if n.Project != nil {
		same := *n.Project
		same.Digest, same.Python, same.RequiresPython = "", "", ""
		n.Project = &same
	}
	return n.Key(home)
}

// ForNeeds is the failure with a hint for a caller that asked for more than the pool has, or for a project.
func (e *Error) ForNeeds(project bool) *Error {
	hint, ok := map[string]string{
		CausePackageNotFound: "correct the name, or name the index that has it in the configuration",
		CauseUnsatisfiable: "loosen the versions that were asked for, or ask for another python; " +
			"the output names the conflict",
		CausePythonMissing: "ask for another python, or install that one",
		CauseNetwork:       "check the network, the proxy and the package index, and ask again",
		CauseVerifyFailed:  "what was asked for may not go together with the kernel; ask for other versions",
	}[e.Cause]
	ours := "what was asked for"
	if project {
		ours = "the project's packages"
		ok = ok && (e.Cause == CauseNetwork || e.Cause == CausePythonMissing)
	}
	shown := *e
	switch {
	case ok:
		shown.Hint = hint
	case strings.Contains(e.Hint, ByItself):
		shown.Hint = "ask again; the daemon's log has more: runt daemon logs"
	default:
		shown.Hint = strings.NewReplacer("the pool's packages", ours, AndFlush, ", and ask again").Replace(e.Hint)
	}
	return &shown
}
