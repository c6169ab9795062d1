package command

import (
	"slices"
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
	got := Environ([]string{"PATH=/usr/bin:/bin", "PYTHONHOME=/old", "VIRTUAL_ENV=/old", "KEEP=a=b",
		"PYTHONHOMER=stays"}, env)
	slices.Sort(got)
	want := []string{"EMPTY=", "KEEP=a=b", "PATH=/e/bin:/e/x:/usr/bin:/bin", "PYTHONHOMER=stays", "VIRTUAL_ENV=/e"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := tool.Lookup(Environ(nil, env), "PATH"); got != "/e/bin:/e/x" {
		t.Errorf("without PATH: got %q, which would make the working directory part of it", got)
	}
}
