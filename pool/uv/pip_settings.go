package uv

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"runtimed/internal/safefile"
	"runtimed/internal/tool"
)

// pipFrom are the settings of pip that say where packages come from. The others say where and how to install, which
// is our business.
var pipFrom = []string{
	"index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert", "client-cert", "timeout",
	"retries", "resume-retries", "keyring-provider", "cache-dir", "no-cache-dir", "use-feature", "use-deprecated",
	"no-input",
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
	set := pipSettings(string(listed.Stdout))
	for _, setting := range pipFrom {
		if name := pipVariable(setting); set[setting] != "" && tool.Lookup(env, name) == "" {
			env = append(env, name+"="+set[setting])
		}
	}
	// then pip reads no file; Python calls it nul
	return append(env, "PIP_CONFIG_FILE="+strings.ToLower(os.DevNull)), listed, nil
}

var pipLine = regexp.MustCompile(`^([a-z]+)\.([a-z-]+)=(['"])(.*)['"]\r?$`)

// pipSettings are those of the configuration files that count when pip installs, by the output of `pip config list`: a
// line for each, its value a Python string.
func pipSettings(listed string) map[string]string {
	global, install := map[string]string{}, map[string]string{}
	for line := range strings.Lines(listed) {
		m := pipLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil || m[1] != "global" && m[1] != "install" {
			continue
		}
		set := global
		if m[1] == "install" {
			set = install
		}
		text := m[4]
		if m[3] == "'" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, `\'`, `'`), `"`, `\"`)
		}
		if value, err := strconv.Unquote(`"` + text + `"`); err == nil {
			set[m[2]] = strings.Join(strings.Fields(value), " ") // lists have a line for each item
		}
	}
	maps.Copy(global, install)
	return global
}

// PipSetting is a setting of pip in its variable, or in those of its files that are the same for every Python, the last
// of which counts. Builds ask pip itself, which knows more files; this is for callers that cannot wait for it.
func PipSetting(environ []string, setting string) string {
	value := tool.Lookup(environ, pipVariable(setting))
	home := tool.Lookup(environ, tool.HomeVariable)
	if value != "" || strings.EqualFold(tool.Lookup(environ, "PIP_CONFIG_FILE"), os.DevNull) { // then pip reads no file
		return value
	}
	config := cmp.Or(tool.Lookup(environ, "XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	for _, path := range []string{
		tool.Lookup(environ, "PIP_CONFIG_FILE"), filepath.Join(config, "pip", "pip.conf"),
		filepath.Join(home, ".pip", "pip.conf"), "/etc/pip.conf",
	} {
		if value == "" {
			data, _ := safefile.Read(path, 1<<20) // what cannot be read says nothing
			value = inPipFile(string(data), setting)
		}
	}
	return value
}

func inPipFile(text, setting string) (value string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		}
		name, v, ok := strings.Cut(line, "=")
		name = strings.ReplaceAll(strings.TrimSpace(name), "_", "-")
		if ok && (section == "global" || section == "install") && name == setting {
			value = strings.TrimSpace(v)
		}
	}
	return value
}
