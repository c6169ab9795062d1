package command

import (
	"slices"
	"strings"
	"testing"

	"runtimed/internal/pyreq"
	"runtimed/rpc"
)

func TestCommasPartRequirementsAsForUV(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                     nil,
		" , ":                                  nil,
		"numpy":                                {"numpy"},
		"numpy,pandas":                         {"numpy", "pandas"},
		"numpy,, pandas ,":                     {"numpy", "pandas"},
		"a[b,c]":                               {"a[b,c]"},
		"a[b,c]>=1,<2,d":                       {"a[b,c]>=1,<2", "d"},
		"a>=1, <2 , d":                         {"a>=1, <2", "d"},
		"a (>=1,<2),b":                         {"a (>=1,<2)", "b"},
		"a~=1,!=1.2,==1.*":                     {"a~=1,!=1.2,==1.*"},
		"a; python_version in '3.9,3.10',b":    {"a; python_version in '3.9,3.10'", "b"},
		"a @ https://x.y/z.whl,b":              {"a @ https://x.y/z.whl", "b"},
		"a]b,c":                                {"a]b", "c"},
		`a; os_name == "it's" , b`:             {`a; os_name == "it's"`, "b"},
		"httpx[http2]; python_version>'3.9',b": {"httpx[http2]; python_version>'3.9'", "b"},
	} {
		if got := splitRequirements(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOfAScriptOnlyItsMetadataAreSent(t *testing.T) {
	block := "# /// script\n# dependencies = ['a']\n#\n# ///"
	for name, c := range map[string][2]string{
		"the block alone": {block + "\n", block},
		"in a script": {"#!python\n# note\nimport a\n\n" + block + "\nprint()\n# note\n", "\n\n\n\n" +
			block},
		"joined to a note":          {"# note\n" + block + "\n# note\nprint()", "# note\n" + block + "\n# note"},
		"two":                       {block + "\nx\n" + block, block + "\n\n" + block},
		"none":                      {"# note\nprint()\n# /// other\n# ///\n", ""},
		"empty":                     {"", ""},
		"of another system":         {"\ufeffx\r\n" + strings.ReplaceAll(block, "\n", "\r\n") + "\r\n", "\n" + block},
		"behind very many lines":    {strings.Repeat("x\n", rpc.MaxNeeds) + block, block},
		"not of the whole line":     {"x = 1 # /// script\n# ///\n", ""},
		"in a string, as uv has it": {"'''\n" + block + "\n'''\n", "\n" + block},
	} {
		if got, err := pyreq.ScriptMetadata([]byte(c[0]), rpc.MaxNeeds); got != c[1] || err != nil {
			t.Errorf("%s: got %q, want %q, %v", name, got, c[1], err)
		}
	}
}
