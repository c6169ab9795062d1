// Package pyreq reads what Python code needs, as pip and Python do: requirements files, and scripts with metadata
// (PEP 723).
package pyreq

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Encodings are the encodings that can be read.
const Encodings = "UTF-8, UTF-16, UTF-32, ASCII, Latin-1, Latin-9 and Windows-1252"

// TextError says why a file cannot be read as text.
type TextError struct {
	Line int // from 1
	Says string
	Hint string
}

func (e *TextError) Error() string { return fmt.Sprintf("line %d %s", e.Line, e.Says) }

const saveAsUTF8 = "save the file as UTF-8"

// The marks of UTF-32 come before those of UTF-16, which begin alike.
var marks = []struct{ mark, encoding string }{
	{"\xef\xbb\xbf", "utf-8"}, {"\xff\xfe\x00\x00", "utf-32-le"}, {"\x00\x00\xfe\xff", "utf-32-be"},
	{"\xff\xfe", "utf-16-le"}, {"\xfe\xff", "utf-16-be"},
}

func cutMark(data []byte) (rest []byte, encoding string) {
	for _, m := range marks {
		if rest, ok := bytes.CutPrefix(data, []byte(m.mark)); ok {
			return rest, m.encoding
		}
	}
	return data, ""
}

// RequirementsText decodes a requirements file: by its byte order mark, by the encoding that one of its first two
// lines names, by the locale's if it is not UTF-8, or else as UTF-8. The error is a *TextError.
func RequirementsText(data []byte, env func(string) string) (string, error) {
	rest, encoding := cutMark(data)
	line := 1
	if encoding == "" {
		encoding, line = named(data, requirementsCoding)
	}
	switch {
	case encoding != "":
	case utf8.Valid(data):
		encoding = "utf-8"
	default:
		encoding = canonical(localeEncoding(env))
		if tables[encoding] == nil && encoding != "latin-1" {
			encoding = "utf-8" // which says the line
		}
	}
	text, err := decode(rest, encoding, line)
	if err != nil {
		return "", err
	}
	if at := strings.IndexByte(text, 0); at >= 0 {
		return "", &TextError{lineAt(text, at), "holds a NUL byte, so it is not text in " + display(encoding),
			saveAsUTF8}
	}
	return text, nil
}

// requirementsCoding is where pip looks, in a line that begins with #; Python allows blanks before that.
var (
	requirementsCoding = regexp.MustCompile(`^#.*?coding[:=]\s*([-\w.]+)`)
	scriptCoding       = regexp.MustCompile(`^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)`)
	noCode             = regexp.MustCompile(`^[ \t\f]*(?:#.*)?\r?$`)
)

func named(data []byte, coding *regexp.Regexp) (encoding string, line int) {
	for i := range 2 {
		first, rest, _ := bytes.Cut(data, []byte("\n"))
		if m := coding.FindSubmatch(first); m != nil {
			return canonical(string(m[1])), i + 1
		}
		if coding == scriptCoding && !noCode.Match(first) {
			break
		}
		data = rest
	}
	return "", 1
}

func localeEncoding(env func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := env(name); value != "" {
			_, encoding, _ := strings.Cut(value, ".")
			encoding, _, _ = strings.Cut(encoding, "@")
			return encoding
		}
	}
	return ""
}

var aliases = map[string]string{
	"utf8": "utf-8", "u8": "utf-8", "utf": "utf-8", "utf-8-sig": "utf-8", "cp65001": "utf-8", "utf8-sig": "utf-8",
	"us-ascii": "ascii", "646": "ascii", "ansi-x3.4-1968": "ascii",
	"latin1": "latin-1", "l1": "latin-1", "iso-8859-1": "latin-1", "iso8859-1": "latin-1", "iso-8859-1-1987": "latin-1",
	"8859": "latin-1", "cp819": "latin-1",
	"latin9": "latin-9", "l9": "latin-9", "iso-8859-15": "latin-9", "iso8859-15": "latin-9",
	"windows-1252": "cp1252", "1252": "cp1252", "ansi": "cp1252", "mbcs": "cp1252",
	"utf16": "utf-16", "u16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "utf32": "utf-32",
	"u32": "utf-32", "utf-32le": "utf-32-le", "utf-32be": "utf-32-be",
}

func canonical(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if known, ok := aliases[name]; ok {
		return known
	}
	return name
}

func display(encoding string) string {
	switch {
	case encoding == "latin-1", encoding == "latin-9":
		return "L" + encoding[1:]
	case encoding == "cp1252":
		return "Windows-1252"
	}
	return strings.ToUpper(encoding)
}

// tables are the bytes that do not stand for the character of their number.
var tables = map[string]map[byte]rune{
	"latin-9": {0xa4: 0x20ac, 0xa6: 0x160, 0xa8: 0x161, 0xb4: 0x17d, 0xb8: 0x17e, 0xbc: 0x152, 0xbd: 0x153,
		0xbe: 0x178},
	"cp1252": {
		0x80: 0x20ac, 0x81: -1, 0x82: 0x201a, 0x83: 0x192, 0x84: 0x201e, 0x85: 0x2026, 0x86: 0x2020, 0x87: 0x2021,
		0x88: 0x2c6, 0x89: 0x2030, 0x8a: 0x160,
		0x8b: 0x2039, 0x8c: 0x152, 0x8d: -1, 0x8e: 0x17d, 0x8f: -1, 0x90: -1, 0x91: 0x2018, 0x92: 0x2019, 0x93: 0x201c,
		0x94: 0x201d, 0x95: 0x2022, 0x96: 0x2013,
		0x97: 0x2014, 0x98: 0x2dc, 0x99: 0x2122, 0x9a: 0x161, 0x9b: 0x203a, 0x9c: 0x153, 0x9d: -1, 0x9e: 0x17e,
		0x9f: 0x178,
	},
}

func decode(data []byte, encoding string, line int) (string, error) {
	bad := func(at int) error {
		return &TextError{1 + bytes.Count(data[:at], []byte("\n")), "is not " + display(encoding),
			"save the file as UTF-8, or name its encoding in its first line: # -*- coding: latin-1 -*-"}
	}
	table := tables[encoding]
	switch encoding {
	case "utf-8":
		if utf8.Valid(data) {
			return string(data), nil
		}
		for at := 0; ; {
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				return "", bad(at)
			}
			at += n
		}
	case "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be":
		return decodeWide(data, encoding)
	case "ascii", "latin-1", "latin-9", "cp1252":
	default:
		return "", &TextError{line, fmt.Sprintf("names the encoding %q, which is not one that can be read here",
			encoding), saveAsUTF8 + "; what can be read is " + Encodings}
	}
	var b strings.Builder
	for at, c := range data {
		r, other := table[c]
		switch {
		case r < 0, encoding == "ascii" && c >= 0x80:
			return "", bad(at)
		case !other:
			r = rune(c)
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// decodeWide decodes UTF-16 and UTF-32, little-endian by default.
func decodeWide(data []byte, encoding string) (string, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if strings.HasSuffix(encoding, "-be") {
		order = binary.BigEndian
	}
	var b strings.Builder
	for len(data) > 0 {
		r, n := wideRune(data, order, strings.HasPrefix(encoding, "utf-32"))
		if !utf8.ValidRune(r) {
			return "", &TextError{1 + strings.Count(b.String(), "\n"), "is not " + display(encoding), saveAsUTF8}
		}
		b.WriteRune(r)
		data = data[n:]
	}
	return b.String(), nil
}

// wideRune is the first character, or no valid one, and its size.
func wideRune(data []byte, order binary.ByteOrder, is32 bool) (r rune, size int) {
	switch {
	case is32 && len(data) >= 4:
		return rune(order.Uint32(data)), 4
	case is32 || len(data) < 2:
		return -1, 0
	}
	r = rune(order.Uint16(data))
	if utf16.IsSurrogate(r) && len(data) >= 4 {
		if pair := utf16.DecodeRune(r, rune(order.Uint16(data[2:]))); pair != utf8.RuneError {
			return pair, 4
		}
	}
	return r, 2
}

func lineAt(text string, offset int) int { return 1 + strings.Count(text[:offset], "\n") }
