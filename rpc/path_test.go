package rpc

import "testing"

func TestTheStateDirectoryOnWindows(t *testing.T) {
	for _, c := range []struct{ env, dir string }{
		{`C:\Users\Ada\AppData\Local`, `C:\Users\Ada\AppData\Local\runt`},
		{`C:\Users\Ada\AppData\Local\`, `C:\Users\Ada\AppData\Local\runt`},
		{`\\server\homes\ada`, `\\server\homes\ada\runt`},
		{`AppData`, ""},
		{``, ""},
	} {
		dir, err := StateDir("windows", func(name string) string {
			return map[string]string{"LOCALAPPDATA": c.env, "HOME": "/home/ada"}[name]
		})
		if dir != c.dir || (err == nil) != (c.dir != "") {
			t.Errorf("%q: got %q, %v", c.env, dir, err)
		}
	}
}
