package main

import (
	"regexp"
	"strings"
)

var (
	comment     = regexp.MustCompile(`(^|\s+)#.*$`)
	commentLine = regexp.MustCompile(`^\s*#`)
	hashOption  = regexp.MustCompile(`\s--hash[=\s]`)
	lineOption  = regexp.MustCompile(`\s(--?[A-Za-z][A-Za-z-]*)`)
	// pip ends lines where Python's splitlines does.
	pipBreak  = strings.NewReplacer("\f", "\n", "\v", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")
	lineBreak = strings.NewReplacer("\r\n", "\n", "\r", "\n")
)

// readRequirements are the requirements of a requirements file, line by line as pip reads it: a last backslash goes on with the next
// line, then comments go. Options and paths are refused: they would be read in the daemon's folder, or count for all that comes later.
func readRequirements(text string) ([]string, error) {
	var list []string
	for _, line := range joinedLines(strings.Split(pipBreak.Replace(plainText(text)), "\n")) {
		line.text = strings.TrimSpace(comment.ReplaceAllString(line.text, ""))
		if line.text == "" {
			continue
		}
		if hashOption.MatchString(line.text) {
			return nil, badNeed(inRequirements, "line %d of requirements has a --hash, which would not be looked at: "+
				"what is installed is checked against the hashes of the index", line.number).
				WithHint("leave the hashes out, or install the file into the environment with pip once you have it")
		}
		option := lineOption.FindStringSubmatch(" " + line.text)
		if at := strings.IndexByte(line.text, ';'); option != nil && (at < 0 || strings.Index(line.text, option[1]) < at) {
			return nil, badNeed(inRequirements, "line %d of requirements has the option %s, and options are not taken", line.number, option[1]).
				WithHint("%s", badRequirement(inRequirements, line.text[max(0, strings.Index(line.text, option[1])):], "").Data.Hint)
		}
		r, problem := readRequirement(line.text)
		if problem != "" {
			return nil, badRequirement(inRequirements, line.text, "line %d of requirements, %s, %s", line.number, brief(line.text), problem)
		}
		list = append(list, r)
	}
	return list, nil
}

// plainText is a text without what an editor put before it, its lines ended as here.
func plainText(text string) string { return lineBreak.Replace(strings.TrimPrefix(text, "\ufeff")) }

type fileLine struct {
	number int // from 1: that of the first one, where several are joined
	text   string
}

func joinedLines(lines []string) (joined []fileLine) {
	var open *fileLine
	for i, text := range lines {
		goesOn := strings.HasSuffix(text, `\`) && !commentLine.MatchString(text)
		switch {
		case goesOn:
			text = strings.TrimRight(text, `\`)
		case commentLine.MatchString(text):
			text = " " + text // so that it is a comment behind what it is joined to, too
		}
		if open == nil {
			open = &fileLine{number: i + 1}
		}
		open.text += text
		if !goesOn {
			joined, open = append(joined, *open), nil
		}
	}
	if open != nil {
		joined = append(joined, *open)
	}
	return joined
}
