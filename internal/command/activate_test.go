package command

import (
	"os"
	"slices"
	"strings"
	"testing"

	"runtimed/internal/tool"
	"runtimed/rpc"
)

func TestActivated(t *testing.T) {
	text := func(s string) *string { return &s }
	env := rpc.Env{
		Variables:   map[string]*string{"VIRTUAL_ENV": text("/e"), "PYTHONHOME": nil, "EMPTY": text("")},
		PathPrepend: []string{"/e/bin", "/e/x"},
	}
	list := func(dirs ...string) string { return strings.Join(dirs, string(os.PathListSeparator)) }
	got := Environ([]string{"PATH=" + list("/usr/bin", "/bin"), "PYTHONHOME=/old", "VIRTUAL_ENV=/old", "KEEP=a=b",
		"PYTHONHOMER=stays"}, env)
	slices.Sort(got)
	want := []string{"EMPTY=", "KEEP=a=b", "PATH=" + list("/e/bin", "/e/x", "/usr/bin", "/bin"), "PYTHONHOMER=stays",
		"VIRTUAL_ENV=/e"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := tool.Lookup(Environ(nil, env), "PATH"); got != list("/e/bin", "/e/x") {
		t.Errorf("without PATH: got %q, which would make the working directory part of it", got)
	}
}
