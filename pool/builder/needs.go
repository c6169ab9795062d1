package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"runtimed/internal/project"
)

// Needs is what an acquire asks for beyond its pool, or for a project in place of its pool.
type Needs struct {
	// requirements (PEP 508), sorted and unique; for conda match specs, and requirements after pyreq.CondaPyPI
	Packages []string `json:"packages"`
	// empty: the pool's; else a version, specifiers like ">=3.11,<3.14", or an absolute path
	Python         string `json:"python,omitempty"`
	RequiresPython string `json:"fits,omitempty"` // specifiers for a Python at an absolute path

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
