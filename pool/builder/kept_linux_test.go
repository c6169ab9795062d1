package builder

import (
	"slices"
	"testing"
)

func TestAStandbyHasTheVariablesOfTheNextFrontEnd(t *testing.T) {
	other := "C.utf8"
	for _, c := range []struct {
		vars   []string
		wanted map[string]*string
		want   []string
	}{
		{[]string{"A=1", "B=2"}, map[string]*string{"A": &other, "B": nil}, []string{"A=C.utf8", "LC_CTYPE=C.UTF-8"}},
		{nil, nil, []string{"LC_CTYPE=C.UTF-8"}},
		{[]string{"LANG=C", "LC_ALL="}, nil, []string{"LANG=C", "LC_ALL=", "LC_CTYPE=C.UTF-8"}},
		{[]string{"LANG=POSIX"}, nil, []string{"LANG=POSIX", "LC_CTYPE=C.UTF-8"}},
		{[]string{"LANG=de_DE.UTF-8"}, nil, []string{"LANG=de_DE.UTF-8"}},
		{[]string{"LC_ALL=C"}, nil, []string{"LC_ALL=C"}}, // Python leaves that alone
		{[]string{"LC_CTYPE=C"}, nil, []string{"LC_CTYPE=C"}},
		{nil, map[string]*string{"LC_CTYPE": nil}, nil}, // the one before was not written in Python
		{nil, map[string]*string{"LC_CTYPE": &other}, []string{"LC_CTYPE=C.utf8"}},
	} {
		if got := expected(c.vars, c.wanted); !slices.Equal(got, c.want) {
			t.Errorf("%q wanted %v: %q, not %q", c.vars, c.wanted, got, c.want)
		}
	}
}
