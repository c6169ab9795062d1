package command

import (
	"os"
	"strings"

	"runtimed/internal/tool"
	"runtimed/rpc"
)

// Environ merges what activation means into an environment.
func Environ(environ []string, env rpc.Env) []string {
	out := make([]string, 0, len(environ)+len(env.Variables)+1)
	path, hasPath := "", false
	changed := map[string]bool{}
	for name := range env.Variables {
		changed[tool.FoldName(name)] = true
	}
	for _, pair := range environ {
		name, v, _ := strings.Cut(pair, "=")
		if tool.SameName(name, "PATH") {
			path, hasPath = v, true
			continue
		}
		if !changed[tool.FoldName(name)] {
			out = append(out, pair)
		}
	}
	for name, v := range env.Variables {
		if tool.SameName(name, "PATH") && v != nil {
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
