package main

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"runtimed/internal/pyreq"
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
		return m, noBlock(text)
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

// noBlock is why what looks like the beginning of a script's metadata is none; nil where nothing does. The specification would have it
// ignored, and the script fail for want of what it names.
func noBlock(text string) error {
	lines := strings.Split(text, "\n")
	for first, line := range lines {
		if !pyreq.Opening.MatchString(line) {
			continue
		}
		content := lines[first+1:]
		if end := slices.IndexFunc(content, func(l string) bool { return !strings.HasPrefix(l, "#") }); end >= 0 {
			content = content[:end]
		}
		end := slices.IndexFunc(content, closing.MatchString)
		if line != "# /// script" {
			if end < 0 {
				continue // a remark
			}
			return badNeed(inScript, "line %d of the script, %s, does not begin a block of metadata as it stands", first+1, brief(line)).
				WithHint("write it as # /// script, with nothing before or behind it")
		}
		if end < 0 {
			return badNeed(inScript, "line %d of the script begins a block of metadata, and there is no line # /// that ends it", first+1).
				WithHint("end it with a line # ///; each line between the two begins with #, the empty ones too")
		}
		for i, l := range content[:end+1] {
			if i == end && l != "# ///" || l != "#" && !strings.HasPrefix(l, "# ") {
				return badNeed(inScript, "line %d of the script, %s, does not belong in a block of metadata as it stands", first+2+i, brief(l)).
					WithHint("each line of the block is # with a blank and its text, or # alone; the last is # ///")
			}
		}
		return nil // nothing is in it
	}
	return nil
}

var closing = regexp.MustCompile(`^#\s*///\s*$`)

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
			return m, badRequirement(inScript, text, "line %d of the script: dependencies has %s, which %s", keyLine("dependencies"), brief(text), problem)
		}
		m.dependencies = append(m.dependencies, r)
	}
	if !ok {
		return m, badNeed(inScript, "line %d of the script: dependencies must be a list of strings", keyLine("dependencies"))
	}
	return m, nil
}
