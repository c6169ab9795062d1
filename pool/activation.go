package pool

import (
	"path/filepath"
	"slices"
	"strings"
)

// activation is what "activated" means for an environment.
type activation struct {
	variables   map[string]*string // nil: taken out
	pathPrepend []string
}

// environ is env with the activation on top.
func (a activation) environ(env []string) []string {
	ours := map[string]bool{"PATH": true}
	for name := range a.variables {
		ours[foldName(name)] = true
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return ours[foldName(name)]
	})
	for name, value := range a.variables {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	return append(env, "PATH="+strings.Join(append(slices.Clone(a.pathPrepend), activationPath), string(filepath.ListSeparator)))
}
