package pyreq

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

func wide16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func wide32(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, r := range text {
		b = order.AppendUint32(b, uint32(r))
	}
	return string(b)
}

func env(locale string) func(string) string {
	return func(name string) string { return map[string]string{"LANG": locale}[name] }
}

func TestARequirementsFileIsReadInTheEncodingThatItSaysItHas(t *testing.T) {
	const text = "six\n# é 😀\nrich>=13\n"
	for name, c := range map[string]struct{ data, locale, want string }{
		"UTF-8":             {text, "", text},
		"UTF-8, its mark":   {"\xef\xbb\xbf" + text, "", text},
		"UTF-16 of Windows": {wide16(binary.LittleEndian, "\ufeff"+text), "", text},
		"UTF-16, the other": {wide16(binary.BigEndian, "\ufeff"+text), "", text},
		"UTF-32":            {wide32(binary.LittleEndian, "\ufeff"+text), "", text},
		"UTF-32, the other": {wide32(binary.BigEndian, "\ufeff"+text), "", text},
		"Latin-1, which it names": {"# -*- coding: latin-1 -*-\nsix # \xe9\n", "",
			"# -*- coding: latin-1 -*-\nsix # é\n"},
		"Latin-9, on the second line": {"six\n# vim: set fileencoding=ISO_8859_15 :\n# \xa4\n", "",
			"six\n# vim: set fileencoding=ISO_8859_15 :\n# €\n"},
		"Windows-1252, which it names": {"# coding=cp1252\n# \x80\x93\n", "", "# coding=cp1252\n# €“\n"},
		"Latin-1, of the locale":       {"six # \xe9\n", "de_DE.ISO-8859-1@euro", "six # é\n"},
		"empty":                        {"", "", ""},
		"a mark alone":                 {"\xff\xfe", "", ""},
	} {
		if got, err := RequirementsText([]byte(c.data), env(c.locale)); got != c.want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct{ data, want string }{
		"no UTF-8":         {"six\n# \xe9\n", "line 2 is not UTF-8"},
		"not what it says": {"# coding: ascii\n\nsix # \xe9\n", "line 3 is not ASCII"},
		"a coding that nobody knows": {"six\n# coding: klingon\n",
			`line 2 names the encoding "klingon", which is not one that can be read here`},
		"UTF-16 without a mark": {wide16(binary.LittleEndian, "six\n"),
			"line 1 holds a NUL byte, so it is not text in UTF-8"},
		"half a character":            {"\xff\xfes\x00\n\x00i", "line 2 is not UTF-16-LE"},
		"half a pair":                 {"\xff\xfe\x3d\xd8a\x00", "line 1 is not UTF-16-LE"},
		"no character of UTF-32":      {"\xff\xfe\x00\x00\xff\xff\xff\xff", "line 1 is not UTF-32-LE"},
		"what Windows-1252 lacks":     {"# coding: windows-1252\n\x81", "line 2 is not Windows-1252"},
		"a NUL in the middle of text": {"six\nri\x00ch\n", "line 2 holds a NUL byte, so it is not text in UTF-8"},
	} {
		if got, err := RequirementsText([]byte(c.data), env("C.UTF-8")); err == nil || err.Error() != c.want ||
			err.(*TextError).Hint == "" {
			t.Errorf("%s: %q, %v, not %s", name, got, err, c.want)
		}
	}
}

func TestTheMetadataOfAScriptAreReadAsPythonWould(t *testing.T) {
	const block = "# /// script\n# dependencies = ['a'] # \xe9\n# ///"
	const plain = "# /// script\n# dependencies = ['a'] # é\n# ///"
	for name, c := range map[string]struct{ data, want string }{
		"UTF-8":                       {"x = 1\n" + plain + "\n", "\n" + plain},
		"its mark":                    {"\xef\xbb\xbf" + plain, plain},
		"Latin-1, which it names":     {"# -*- coding: latin-1 -*-\n\n" + block + "\nx = '\xe9'\n", "\n\n" + plain},
		"on the second line":          {"#!/usr/bin/python\n# coding: latin-1\n\n" + block, "\n\n\n" + plain},
		"bytes that are not its text": {plain + "\nx = '\xe9\x00'\n", plain},
		"a coding not known, in ASCII": {"# coding: koi8-r\n\n# /// script\n# ///\nx = '\xe9'",
			"\n\n# /// script\n# ///"},
		"no metadata": {"x = '\xe9\x00\xff'\n# \xe9\n", ""},
	} {
		if got, err := ScriptMetadata([]byte(c.data), 1<<16); got != c.want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct{ data, want string }{
		"no UTF-8":               {"\n" + block, "line 3 is not UTF-8"},
		"code before the coding": {"x = 1\n# coding: latin-1\n\n" + block, "line 5 is not UTF-8"},
		"UTF-16": {wide16(binary.LittleEndian, "\ufeff"+plain),
			"line 1 is in UTF-16-LE, in which Python reads no script"},
		"a coding not known": {"# coding: koi8-r\n\n" + block,
			"line 4 is in the encoding koi8-r, which is not one that can be read here"},
		"a NUL in the metadata":   {strings.Replace(plain, "a", "\x00", 1), ""},
		"a NUL in ASCII metadata": {"# /// script\n# \x00\n# ///", "line 2 holds a NUL byte, which no script has"},
	} {
		got, err := ScriptMetadata([]byte(c.data), 1<<16)
		if c.want == "" {
			continue
		}
		if err == nil || err.Error() != c.want || err.(*TextError).Hint == "" {
			t.Errorf("%s: %q, %v, not %s", name, got, err, c.want)
		}
	}
}
