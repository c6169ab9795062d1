package project

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readEnvironment reads an environment.yml, as conda documents it.
func readEnvironment(p *Project, r *reader) error {
	if err := p.only(false, false); err != nil {
		return err
	}
	data, err := r.file(p.File, maxManifest)
	if err != nil {
		return err
	}
	var env struct {
		Channels     []string       `yaml:"channels"`
		Dependencies []any          `yaml:"dependencies"`
		Variables    map[string]any `yaml:"variables"`
	}
	var node yaml.Node
	err = yaml.Unmarshal(data, &node)
	if err == nil && hasAlias(&node) { // a few bytes of aliases become gigabytes of text
		return errorf("write out what the aliases stand for", "%s has aliases, which are not taken", p.File)
	}
	if err == nil {
		err = node.Decode(&env)
	}
	if err != nil {
		return errorf("correct it", "%s cannot be read: %.200s", p.File, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p.Channels = slices.DeleteFunc(env.Channels, func(c string) bool { return c == "nodefaults" })
	for _, c := range p.Channels {
		p.addIndex(c)
	}
	for _, d := range env.Dependencies {
		switch d := d.(type) {
		case string:
			p.Specs = append(p.Specs, strings.TrimSpace(d))
			continue
		case map[string]any:
			if pip, ok := d["pip"].([]any); ok && len(d) == 1 {
				for _, item := range pip {
					line, ok := item.(string)
					if !ok {
						return errorf("each is a text", "%s has a line under pip that is none: %.100s", p.File,
							fmt.Sprint(item))
					}
					p.Pip = append(p.Pip, line)
				}
				continue
			}
		}
		return errorf(`each is a text like "numpy>=2", or "pip:" with a list`,
			"%s has a dependency that is not one: %.100s", p.File, fmt.Sprint(d))
	}
	for name, v := range env.Variables {
		if p.Variables == nil {
			p.Variables = map[string]string{}
		}
		value := fmt.Sprint(v)
		switch v.(type) {
		case string, bool, int, float64:
		default:
			value = "\x00"
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return errorf("write it as NAME: a text", "%s has a variable %.60q that cannot be set", p.File, name)
		}
		p.Variables[name] = value
	}
	return readLines(p, r, p.File, []byte(strings.Join(p.Pip, "\n")))
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// CondaSubdir is this machine's part of a channel.
func CondaSubdir() string {
	system := map[string]string{"linux": "linux", "darwin": "osx", "windows": "win"}[runtime.GOOS]
	machine := map[string]string{"amd64": "64", "386": "32", "arm64": "aarch64"}[runtime.GOARCH]
	switch {
	case machine == "":
		machine = runtime.GOARCH // ppc64le, s390x
	case machine == "aarch64" && system != "linux":
		machine = "arm64"
	}
	return fmt.Sprintf("%s-%s", system, machine)
}
