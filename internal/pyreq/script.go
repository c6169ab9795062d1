package pyreq

import (
	"slices"
	"strings"
	"unicode/utf8"

	"runtimed/internal/lazyregexp"
)

var opening = lazyregexp.New(`^#\s*///\s*(?i:script)\s*$`)

var lineBreak = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// ScriptMetadata returns a script's own metadata (PEP 723) in UTF-8, each line where it was, so that errors name
// the right one. The rest of the script need not be text. If the result would be longer than limit, the lines
// before the block are left out too. The error is a *TextError.
func ScriptMetadata(data []byte, limit int) (string, error) {
	rest, mark := cutMark(data)
	encoding, line := named(rest, scriptCoding)
	switch {
	case mark != "" && mark != "utf-8":
		return "", &TextError{1, "is in " + display(mark) + ", in which Python reads no script", saveAsUTF8}
	case mark == "utf-8" || encoding == "":
		encoding = "utf-8"
	}
	lines := strings.Split(lineBreak.Replace(string(rest)), "\n")
	for first := 0; first < len(lines); {
		end := first
		for end < len(lines) && strings.HasPrefix(lines[end], "#") {
			end++
		}
		if !slices.ContainsFunc(lines[first:end], opening().MatchString) {
			clear(lines[first:max(end, first+1)])
		}
		for i := first; i < end; i++ {
			text, err := decodeLine(lines[i], encoding, line)
			if err != nil {
				return "", &TextError{i + 1, err.Says, err.Hint}
			}
			lines[i] = text
		}
		first = max(end, first+1)
	}
	text := strings.TrimRight(strings.Join(lines, "\n"), "\n")
	if len(text) > limit {
		text = strings.TrimLeft(text, "\n") // the number of a line is worth less than the block
	}
	return text, nil
}

func decodeLine(text, encoding string, line int) (string, *TextError) {
	if !strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) {
		if strings.IndexByte(text, 0) >= 0 {
			return "", &TextError{1, "holds a NUL byte, which no script has", saveAsUTF8}
		}
		return text, nil
	}
	decoded, err := decode([]byte(text), encoding, line)
	if e, ok := err.(*TextError); ok {
		if _, known := tables[encoding]; !known && encoding != "utf-8" && encoding != "ascii" && encoding != "latin-1" {
			e.Says = "is in the encoding " + encoding + ", which is not one that can be read here"
		}
		return "", e
	}
	return decoded, nil
}
