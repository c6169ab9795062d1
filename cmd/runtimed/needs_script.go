package main

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// scriptBlock is the reference expression of the specification of inline script metadata (PEP 723). A block without an end is none.
var scriptBlock = regexp.MustCompile(`(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$`)

// metadata is what a script says of the environment that it needs.
type metadata struct {
	dependencies   []string
	requiresPython string
}

// readScript reads the metadata of a script; a script without any needs nothing.
func readScript(text string) (m metadata, err error) {
	text = plainText(text)
	var block []int
	for _, at := range scriptBlock.FindAllStringSubmatchIndex(text, -1) {
		if text[at[2]:at[3]] != "script" {
			continue
		}
		if block != nil {
			return m, badNeed(inScript, "line %d of the script begins a second block of metadata, and there may be one", lineAt(text, at[0])).
				WithHint("make them one")
		}
		block = at
	}
	if block == nil {
		return m, nil
	}
	var content strings.Builder
	for line := range strings.Lines(text[block[4]:block[5]]) {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			content.WriteString(rest)
		} else {
			content.WriteString(line[1:])
		}
	}
	return readMetadata(content.String(), lineAt(text, block[4]))
}

func lineAt(text string, offset int) int { return 1 + strings.Count(text[:offset], "\n") }

// readMetadata reads the TOML of a block that begins on line first of its script.
func readMetadata(content string, first int) (m metadata, err error) {
	var all map[string]any
	if err := toml.Unmarshal([]byte(content), &all); err != nil {
		line := first
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			row, _ := bad.Position()
			line += row - 1
		}
		return m, badNeed(inScript, "line %d of the script cannot be read: %s", line, strings.TrimPrefix(err.Error(), "toml: "))
	}
	keyLine := func(key string) int {
		at := regexp.MustCompile(`(?m)^[ \t]*(?:\[[^\]\n]*\.)?["']?` + regexp.QuoteMeta(key) + `["']?\s*[=.\]]`).FindStringIndex(content)
		if at == nil {
			return first
		}
		return first + strings.Count(content[:at[0]], "\n")
	}
	if tool, ok := all["tool"].(map[string]any); ok {
		if uv, ok := tool["uv"].(map[string]any); ok && len(uv) > 0 {
			key := slices.Min(slices.Collect(maps.Keys(uv)))
			return m, badNeed(inScript, "line %d of the script sets %s in tool.uv, which counts for uv alone", keyLine(key), brief(key)).
				WithHint("run the script with uv run, or take that out")
		}
	}
	if v, there := all["requires-python"]; there {
		s, ok := v.(string)
		if !ok {
			return m, badNeed(inScript, "line %d of the script: requires-python must be a string", keyLine("requires-python"))
		}
		m.requiresPython = s
	}
	v, there := all["dependencies"]
	if !there {
		return m, nil
	}
	list, ok := v.([]any)
	for _, v := range list {
		text, is := v.(string)
		if ok = ok && is; !ok {
			break
		}
		r, problem := readRequirement(text)
		if problem != "" {
			return m, badNeed(inScript, "line %d of the script: dependencies has %s, which %s", keyLine("dependencies"), brief(text), problem)
		}
		m.dependencies = append(m.dependencies, r)
	}
	if !ok {
		return m, badNeed(inScript, "line %d of the script: dependencies must be a list of strings", keyLine("dependencies"))
	}
	return m, nil
}
