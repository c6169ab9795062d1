package safefile

import (
	"net/url"
	"path/filepath"
	"runtime"
	"testing"
)

func TestAURLNamesAPathOfThisSystem(t *testing.T) {
	here := t.TempDir()
	path := filepath.ToSlash(filepath.Join(here, "a b"))
	if runtime.GOOS == "windows" {
		path = "/" + path
	}
	for text, want := range map[string][]string{
		(&url.URL{Scheme: "file", Path: path}).String():                    {filepath.Join(here, "a b")},
		(&url.URL{Scheme: "file", Host: "localhost", Path: path}).String(): {filepath.Join(here, "a b")},
		"file:///x/y":               {"/x/y", `\x\y`},
		"file:///C:/x/y":            {"/C:/x/y", `C:\x\y`},
		"file://server/share/x":     {"/share/x", `\\server\share\x`},
		"file:////server/share/x":   {"//server/share/x", `\\server\share\x`},
		"file://localhost/D:/x%20y": {"/D:/x y", `D:\x y`},
	} {
		u, err := url.Parse(text)
		check(t, err)
		i := 0
		if runtime.GOOS == "windows" {
			i = len(want) - 1
		}
		if got := URLPath(u); got != want[i] {
			t.Errorf("%s: %q, not %q", text, got, want[i])
		}
	}
}
