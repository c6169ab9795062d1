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

// pipFrom are the settings of pip that say where packages come from. The others say where and how to install, which
// is our business.
var pipFrom = []string{
	"index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert", "client-cert", "timeout",
	"retries",
	"resume-retries", "keyring-provider", "cache-dir", "no-cache-dir", "use-feature", "use-deprecated", "no-input",
}

// pipVariable is the variable for a setting of pip.
func pipVariable(setting string) string {
	return "PIP_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// pipEnv is the environment for a pip that installs: with the user's pipFrom settings, from variables and
// configuration files, and without the others, which pip cannot unset one by one.
func (u *Builder) pipEnv(ctx context.Context, mark string, cfg Config, python string) ([]string, tool.Result, error) {
	ask := append(u.pythonEnv(cfg), "PIP_PYTHON="+python, "PIP_LOG="+os.DevNull)
	listed, err := u.pythonWith(ctx, mark, ask, python, "-m", "pip", "config", "list")
	if err != nil {
		return nil, listed, err
	}
	env := slices.DeleteFunc(u.pythonEnv(cfg), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(tool.FoldName(name), "PIP_") &&
			!slices.ContainsFunc(pipFrom, func(s string) bool { return tool.SameName(name, pipVariable(s)) })
	})
	set := map[string]string{}
	for _, section := range []string{"global", "install"} { // later sections win
		for name, value := range pipConfig(string(listed.Stdout), section) {
			set[name] = value
		}
	}
	for _, setting := range pipFrom {
		if name := pipVariable(setting); set[setting] != "" && tool.Lookup(env, name) == "" {
			env = append(env, name+"="+set[setting])
		}
	}
	// then pip reads no file; Python calls it nul
	return append(env, "PIP_CONFIG_FILE="+strings.ToLower(os.DevNull)), listed, nil
}

var pipLine = regexp.MustCompile(`^([a-z]+)\.([a-z-]+)=(['"])(.*)['"]\r?$`)

// pipConfig parses a section of the output of `pip config list`: a line for each setting, its value a Python string.
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
			set[m[2]] = strings.Join(strings.Fields(value), " ") // lists have a line for each item
		}
	}
	return set
}
