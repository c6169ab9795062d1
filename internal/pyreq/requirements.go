package pyreq

import (
	"fmt"
	"strings"

	"runtimed/internal/lazyregexp"
)

var (
	comment     = lazyregexp.New(`(^|\s+)#.*$`)
	commentLine = lazyregexp.New(`^\s*#`)
	lineOption  = lazyregexp.New(`\s(--?[A-Za-z][A-Za-z-]*)`)
	// pip ends lines where Python's splitlines does.
	pipBreak = strings.NewReplacer("\f", "\n", "\v", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n",
		"\u0085", "\n", "\u2028", "\n", "\u2029", "\n")
)

// readRequirements reads a requirements file as pip does, without options and paths, which would concern the
// daemon's folder. By pip's rule, where one line has hashes, each needs them; then locked has the same lines.
func readRequirements(text string) (list []string, locked []Locked, err error) {
	bare := ""
	for _, line := range joinedLines(strings.Split(pipBreak.Replace(plainText(text)), "\n")) {
		line.text = strings.TrimSpace(comment().ReplaceAllString(line.text, ""))
		if line.text == "" {
			continue
		}
		if firstHash().MatchString(line.text) {
			e, says := readLocked(line.text)
			if says != "" {
				return nil, nil, badWith(inRequirements, lockForm, "line %d of requirements, %s, %s", line.number,
					brief(line.text), says)
			}
			list, locked = append(list, e.Requirement), append(locked, e)
			continue
		}
		if bare == "" {
			bare = fmt.Sprintf("line %d of requirements, %s,", line.number, brief(line.text))
		}
		if option := lineOption().FindStringSubmatch(" " + line.text); option != nil {
			at := strings.Index(line.text, option[1])
			if marker := strings.IndexByte(line.text, ';'); marker < 0 || at < marker {
				return nil, nil, bad(inRequirements, line.text[at:],
					"line %d of requirements has the option %s, and options are not taken", line.number, option[1])
			}
		}
		r, problem := readRequirement(line.text)
		if problem != "" {
			return nil, nil, bad(inRequirements, line.text, "line %d of requirements, %s, %s", line.number,
				brief(line.text), problem)
		}
		list = append(list, r)
	}
	if bare != "" && len(locked) > 0 {
		return nil, nil, badWith(inRequirements,
			"give each line its --hash, or none: uv pip compile --generate-hashes",
			"%s has no --hash, and others have one", bare)
	}
	return list, locked, nil
}

func plainText(text string) string { return lineBreak.Replace(strings.TrimPrefix(text, "\ufeff")) }

type fileLine struct {
	number int // from 1: that of the first one, where several are joined
	text   string
}

func joinedLines(lines []string) (joined []fileLine) {
	var parts []string // of a line that goes on
	for i, text := range lines {
		isComment := commentLine().MatchString(text)
		if parts == nil {
			joined = append(joined, fileLine{number: i + 1})
		}
		open := strings.HasSuffix(text, `\`) && !isComment
		switch {
		case open:
			text = strings.TrimRight(text, `\`)
		case isComment:
			text = " " + text // it stays a comment behind what it is joined to
		}
		parts = append(parts, text)
		if !open || i == len(lines)-1 {
			joined[len(joined)-1].text, parts = strings.Join(parts, ""), nil
		}
	}
	return joined
}
