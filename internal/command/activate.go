package command

import (
	"os"
	"strings"

	"runtimed/rpc"
)

// Environ merges what activation means into an environment.
func Environ(environ []string, env rpc.Env) []string {
	out := make([]string, 0, len(environ)+len(env.Variables)+1)
	path, hasPath := "", false
	changed := map[string]bool{}
	for name := range env.Variables {
		changed[foldVariable(name)] = true
	}
	for _, pair := range environ {
		name, v, _ := strings.Cut(pair, "=")
		if sameVariable(name, "PATH") {
			path, hasPath = v, true
			continue
		}
		if !changed[foldVariable(name)] {
			out = append(out, pair)
		}
	}
	for name, v := range env.Variables {
		if sameVariable(name, "PATH") && v != nil {
			path, hasPath = *v, true
		} else if v != nil {
			out = append(out, name+"="+*v)
		}
	}
	dirs := env.PathPrepend
	if hasPath {
		dirs = append(dirs[:len(dirs):len(dirs)], path)
	}
	return append(out, "PATH="+strings.Join(dirs, string(os.PathListSeparator)))
}

func sameVariable(a, b string) bool { return foldVariable(a) == foldVariable(b) }

func Variable(environ []string, name string) string {
	for _, pair := range environ {
		if k, v, _ := strings.Cut(pair, "="); sameVariable(k, name) {
			return v
		}
	}
	return ""
}
