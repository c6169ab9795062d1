package redact

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes a text fit for a terminal, on one line: characters that move the cursor, change the direction of
// others or cannot be seen are written as in Go, like \x1b and \u202e.
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c == '\t' || c == utf8.RuneError || hidden(c) }) {
		return s
	}
	var b strings.Builder
	before := rune(0)
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		after, _ := utf8.DecodeRuneInString(s)
		switch {
		case c == '\t':
			b.WriteByte(' ')
		case !hidden(c) || joins(before, c, after):
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x80:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
		before = c
	}
	return b.String()
}

// PrintableLines is Printable for a text of several lines.
func PrintableLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = Printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func hidden(c rune) bool {
	if c < 0x80 {
		return c < 0x20 || c == 0x7f
	}
	return unicode.IsControl(c) ||
		unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) &&
			!unicode.Is(unicode.Prepended_Concatenation_Mark, c)
}

// joins reports whether c is a joiner in its place: in an emoji, or in a script that is written with it.
func joins(before, c, after rune) bool {
	const firstThatJoins = 0x0590 // Latin, Greek and Cyrillic are before it
	joiner := c == 0x200c || c == 0x200d
	return joiner && before >= firstThatJoins && after >= firstThatJoins && after != utf8.RuneError &&
		!hidden(before) && !hidden(after)
}
