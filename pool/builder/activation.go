package builder

import (
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/tool"
)

// Activation is what "activated" means for an environment.
type Activation struct {
	Variables   map[string]*string // nil: taken out
	PathPrepend []string
}

// Environ is env with the activation on top.
func (a Activation) Environ(env []string) []string {
	ours := map[string]bool{"PATH": true}
	for name := range a.Variables {
		ours[tool.FoldName(name)] = true
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return ours[tool.FoldName(name)]
	})
	for name, value := range a.Variables {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	return append(env, "PATH="+strings.Join(append(slices.Clone(a.PathPrepend), ActivationPath), string(filepath.ListSeparator)))
}
