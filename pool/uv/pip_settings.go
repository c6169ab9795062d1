package uv

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"runtimed/internal/tool"
)

// pipFrom are pip's settings about where packages come from. All others say where and how to install, which is ours to say.
var pipFrom = []string{
	"index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert", "client-cert", "timeout", "retries",
	"resume-retries", "keyring-provider", "cache-dir", "no-cache-dir", "use-feature", "use-deprecated", "no-input",
}

// pipVariable is the variable for a setting of pip's.
func pipVariable(setting string) string {
	return "PIP_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// pipEnv is the environment for a pip that installs: the user's settings about from where, be they in variables or in pip's
// configuration files, and none of the others. pip has no way to unset a single one of those.
func (u *Builder) pipEnv(ctx context.Context, mark string, cfg Config, python string) ([]string, tool.Result, error) {
	ask := append(u.pythonEnv(cfg), "PIP_PYTHON="+python, "PIP_LOG="+os.DevNull)
	listed, err := u.pythonWith(ctx, mark, ask, python, "-m", "pip", "config", "list")
	if err != nil {
		return nil, listed, err
	}
	env := slices.DeleteFunc(u.pythonEnv(cfg), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(tool.FoldName(name), "PIP_") && !slices.ContainsFunc(pipFrom, func(s string) bool { return tool.SameName(name, pipVariable(s)) })
	})
	set := map[string]string{}
	for _, section := range []string{"global", "install"} { // the second counts more
		for name, value := range pipConfig(string(listed.Stdout), section) {
			set[name] = value
		}
	}
	for _, setting := range pipFrom {
		if name := pipVariable(setting); set[setting] != "" && tool.Lookup(env, name) == "" {
			env = append(env, name+"="+set[setting])
		}
	}
	return append(env, "PIP_CONFIG_FILE="+strings.ToLower(os.DevNull)), listed, nil // pip then reads no file at all; Python calls it nul
}

var pipLine = regexp.MustCompile(`^([a-z]+)\.([a-z-]+)=(['"])(.*)['"]\r?$`)

// pipConfig is a section of what `pip config list` printed: a line each, with the value as Python writes a string.
func pipConfig(listed, section string) map[string]string {
	set := map[string]string{}
	for line := range strings.Lines(listed) {
		m := pipLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil || m[1] != section {
			continue
		}
		text := m[4]
		if m[3] == "'" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, `\'`, `'`), `"`, `\"`)
		}
		if value, err := strconv.Unquote(`"` + text + `"`); err == nil {
			set[m[2]] = strings.Join(strings.Fields(value), " ") // several stand on lines of their own
		}
	}
	return set
}
