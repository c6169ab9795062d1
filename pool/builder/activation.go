package builder

import (
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/tool"
)

// Activation is what a child needs to run in an environment.
type Activation struct {
	Variables   map[string]*string // nil: removed
	PathPrepend []string
}

// Environ returns env with the activation applied.
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
	return append(env, "PATH="+strings.Join(append(slices.Clone(a.PathPrepend), ActivationPath),
		string(filepath.ListSeparator)))
}
