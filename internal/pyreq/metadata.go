package pyreq

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"runtimed/internal/lazyregexp"
)

// scriptBlock is the reference expression of PEP 723. A block without an end is none.
var scriptBlock = lazyregexp.New(`(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$`)

type metadata struct {
	dependencies   []string
	requiresPython string
}

func readScript(text string) (m metadata, err error) {
	text = plainText(text)
	var block []int
	for _, at := range scriptBlock().FindAllStringSubmatchIndex(text, -1) {
		if text[at[2]:at[3]] != "script" {
			continue
		}
		if block != nil {
			return m, badWith(inScript, "make them one",
				"line %d of the script begins a second block of metadata, and there may be one", lineAt(text, at[0]))
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

// noBlock says why what looks like the beginning of a block is not one. By the specification it would be ignored,
// and the script would fail.
func noBlock(text string) error {
	lines := strings.Split(text, "\n")
	for first, line := range lines {
		if !opening().MatchString(line) {
			continue
		}
		content := lines[first+1:]
		if end := slices.IndexFunc(content, func(l string) bool { return !strings.HasPrefix(l, "#") }); end >= 0 {
			content = content[:end]
		}
		end := slices.IndexFunc(content, closing().MatchString)
		if line != "# /// script" {
			if end < 0 {
				continue // a remark
			}
			return badWith(inScript, "write it as # /// script, with nothing before or behind it",
				"line %d of the script, %s, does not begin a block of metadata as it stands", first+1, brief(line))
		}
		if end < 0 {
			return badWith(inScript,
				"end it with a line # ///; each line between the two begins with #, the empty ones too",
				"line %d of the script begins a block of metadata, and there is no line # /// that ends it", first+1)
		}
		for i, l := range content[:end+1] {
			if i == end && l != "# ///" || l != "#" && !strings.HasPrefix(l, "# ") {
				return badWith(inScript,
					"each line of the block is # with a blank and its text, or # alone; the last is # ///",
					"line %d of the script, %s, does not belong in a block of metadata as it stands", first+2+i,
					brief(l))
			}
		}
		return nil // nothing is in it
	}
	return nil
}

var closing = lazyregexp.New(`^#\s*///\s*$`)

func readMetadata(content string, first int) (m metadata, err error) {
	var all map[string]any
	if err := toml.Unmarshal([]byte(content), &all); err != nil {
		line := first
		if faulty, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := faulty.Position()
			line += row - 1
		}
		return m, bad(inScript, "", "line %d of the script cannot be read: %s", line, strings.TrimPrefix(err.Error(),
			"toml: "))
	}
	keyLine := func(key string) int {
		expr := `(?m)^[ \t]*(?:\[[^\]\n]*\.)?["']?` + regexp.QuoteMeta(key) + `["']?\s*[=.\]]`
		if at := regexp.MustCompile(expr).FindStringIndex(content); at != nil {
			return first - 1 + lineAt(content, at[0])
		}
		return first
	}
	if tool, ok := all["tool"].(map[string]any); ok {
		if uv, ok := tool["uv"].(map[string]any); ok && len(uv) > 0 {
			key := slices.Min(slices.Collect(maps.Keys(uv)))
			return m, badWith(inScript, "run the script with uv run, or take that out",
				"line %d of the script sets %s in tool.uv, which counts for uv alone", keyLine(key), brief(key))
		}
	}
	if v, there := all["requires-python"]; there {
		s, ok := v.(string)
		if !ok {
			return m, bad(inScript, "", "line %d of the script: requires-python must be a string",
				keyLine("requires-python"))
		}
		m.requiresPython = s
	}
	v, there := all["dependencies"]
	if !there {
		return m, nil
	}
	noStrings := bad(inScript, "", "line %d of the script: dependencies must be a list of strings",
		keyLine("dependencies"))
	list, ok := v.([]any)
	if !ok {
		return m, noStrings
	}
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			return m, noStrings
		}
		r, problem := readRequirement(text)
		if problem != "" {
			return m, bad(inScript, text, "line %d of the script: dependencies has %s, which %s",
				keyLine("dependencies"), brief(text), problem)
		}
		m.dependencies = append(m.dependencies, r)
	}
	return m, nil
}
