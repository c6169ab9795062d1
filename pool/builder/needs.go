package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Needs is what somebody asks for beyond what a pool gives.
type Needs struct {
	Packages       []string `json:"packages"`         // requirements (PEP 508), sorted, none twice
	Python         string   `json:"python,omitempty"` // empty: as the pool has it; else a version like "3.12", specifiers like ">=3.11,<3.14", or an absolute path
	RequiresPython string   `json:"fits,omitempty"`   // specifiers that the Python at an absolute path must satisfy
}

// None says whether the pool alone will do.
func (n Needs) None() bool { return len(n.Packages) == 0 && n.Python == "" }

// Key is that of the pool for n beside home.
func (n Needs) Key(home string) string {
	data, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings always marshal
	}
	sum := sha256.Sum256(data)
	return home + "+" + hex.EncodeToString(sum[:6])
}
