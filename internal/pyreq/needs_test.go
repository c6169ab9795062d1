package pyreq

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARequirementIsTheSameHoweverItIsWritten(t *testing.T) {
	for want, texts := range map[string][]string{
		"pandas":      {"pandas", " Pandas ", "PANDAS", "pandas()", "pandas[]"},
		"ruamel-yaml": {"ruamel.yaml", "Ruamel_YAML", "ruamel-_.yaml"},
		"rich>=13": {"rich>=13", "rich >= 13", "Rich(>=13)", "rich\t>=  13", "rich>=13,",
			"rich>=13,>=13"},
		"rich<14,>=13":             {"rich>=13,<14", "rich <14 , >= 13", "rich (<14,>=13)"},
		"httpx[brotli,http2]>=0.2": {"httpx[http2,brotli]>=0.2", "HTTPX [ Brotli , http2, http2 ] >= 0.2"},
		`foo; python_version > "3.9" and os_name == "nt"`: {
			"foo;python_version>'3.9' and os_name=='nt'", `foo ; python_version  > "3.9"  and os_name == "nt"`,
		},
		`foo; python_version in "3.9 3.10"`: {"foo; python_version in '3.9 3.10'"},
		`foo; ( os_name == 'say "a"' )`:     {`foo; (os_name == 'say "a"')`},
		`foo; what? is this`:                {"foo;what? is this"},
		"foo @ https://a.b/c.whl": {"foo @ https://a.b/c.whl", "Foo@https://a.b/c.whl",
			"foo   @https://a.b/c.whl"},
		"foo[x] @ git+ssh://git@a.b/c@main#egg": {"foo[x]@git+ssh://git@a.b/c@main#egg"},
		`foo @ https://a.b/c.whl ; os_name == "nt"`: {
			"foo @ https://a.b/c.whl ;os_name=='nt'", "foo @ https://a.b/c.whl; os_name=='nt'",
		},
		"foo===1.0-local_X":                     {"foo === 1.0-local_X"},
		"backports-zip>=1":                      {"backports.zip >=1"},
		"foo==1!2.*":                            {"foo==1!2.*"},
		"a":                                     {"a"},
		`foo; sys_platform == "a" or ( x < y )`: {`foo;sys_platform=="a" or(x<y)`},
	} {
		for _, text := range texts {
			if got, problem := readRequirement(text); got != want || problem != "" {
				t.Errorf("%q is %q (%s), want %q", text, got, problem, want)
			}
			if again, problem := readRequirement(want); again != want {
				t.Errorf("%q becomes %q (%s)", want, again, problem)
			}
		}
	}
}

func TestWhatIsNoRequirementIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "has no name",
		"-r more.txt":                   "is an option",
		"--index-url https://a.b":       "is an option",
		"-e .":                          "is an option",
		".":                             "is a path",
		"./x":                           "is a path",
		"../x":                          "is a path",
		"/x/y":                          "is a path",
		"~/x":                           "is a path",
		"x/y":                           "is a path",
		`x\y`:                           "is a path",
		`C:\x`:                          "is a path",
		"x.whl":                         "is a path",
		"x-1.0.tar.gz":                  "is a path",
		"x.zip[extra]":                  "is a path",
		"file:///x":                     "is a path",
		"https://a.b/c.whl":             "is a URL without a name",
		"git+https://a.b/c":             "is a URL without a name",
		"foo @ ./x":                     "not on the network",
		"foo @ /x":                      "not on the network",
		"foo@main":                      "no URL behind the @",
		"foo @ file:///x":               "not on the network",
		"foo @ git+file:///x":           "not on the network",
		"foo@1.2":                       "has a version behind an @",
		"foo[x] @ v1.2":                 "has a version behind an @",
		"foo@latest":                    "has a version behind an @",
		"foo @":                         "has no URL",
		"foo @ https://a.b/c d":         "has no URL",
		"foo\nbar":                      "control character",
		"foo\x00":                       "control character",
		"foo\xff":                       "not UTF-8",
		"foo # why":                     "is not a version",
		"foo bar":                       "is not a version",
		"foo 1.0":                       "is not a version",
		"foo>=1 --hash=sha256:00":       "is not a version",
		"foo>=":                         "is not a version",
		"foo>=1 <2":                     "is not a version",
		"foo>=1;os_name=='x' # why":     "is not a marker",
		"foo;os_name=='x' --hash=sha:0": "is not a marker",
		`foo \`:                         `ends with a \`,
		"foo[bar":                       "is not a version",
		"[bar]":                         "does not begin with the name",
		"_foo":                          "does not begin with the name",
		"été":                           "does not begin with the name",
		"foo @ https://${TOKEN}@a.b/c":  "has a variable",
	} {
		if r, problem := readRequirement(text); !strings.Contains(problem, want) {
			t.Errorf("%q is %q (%s), want %q", text, r, problem, want)
		}
	}
}

func TestARequirementsFileIsReadAsPipReadsIt(t *testing.T) {
	text := "\ufeff# -*- coding: utf-8 -*-\r\n" + `
pandas  # a note
  # another
numpy>=2, \
  <3
foo==1.0 \
  # ends it
bar; python_version \
  > "3.9"
  Rich@https://a.b/c.zip#subdirectory=x
last \`
	got, _, err := readRequirements(text)
	want := []string{"pandas", "numpy<3,>=2", "foo==1.0", `bar; python_version > "3.9"`,
		"rich @ https://a.b/c.zip#subdirectory=x", "last"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, _, err := readRequirements("a\rb\r\nc\n\n# d \\\ne"); err != nil || len(got) != 4 {
		t.Errorf("%q, %v", got, err) // a comment does not go on
	}
}

func TestTheNextStepIsThatForWhatWasMeant(t *testing.T) {
	for text, want := range map[string]string{
		"-e .": "pip install -e FOLDER", "--editable=.": "pip install -e FOLDER",
		"-r more.txt":            "put what is in that file in its place",
		"--requirement more.txt": "put what is in that file", "-c x": "put what is in that file",
		"--index-url https://a.b": "daemon's configuration",
		"pkg@1.2":                 "write it as pkg==1.2", "pkg@latest": "write it as pkg:",
		"pkg=1.2": "write it as pkg==1.2",
		"pkg 1.2": `write each as "numpy"`,
	} {
		for _, params := range []Request{{Packages: []string{text}}, {Requirements: "six\n" + text + "\n"}} {
			if params.Requirements != "" && strings.HasPrefix(want, "write each") {
				continue
			}
			_, err := params.Needs()
			if e := new(Error); !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
				t.Errorf("%s: %v", text, err)
			} else if params.Requirements != "" && !strings.Contains(e.Message, "line 2") {
				t.Error(e.Message)
			}
		}
	}
}

func TestAScriptsMetadataIsReadAsItsSpecificationSays(t *testing.T) {
	block := "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"Rich\",  # a note\n#\n#   " +
		"'requests<3',\n# ]\n# other = 1\n# [tool.black]\n# x = 1\n# [tool.uv]\n# ///\n"
	want := metadata{dependencies: []string{"rich", "requests<3"}, requiresPython: ">=3.11"}
	for name, text := range map[string]string{
		"the block alone":      block,
		"without a last break": strings.TrimSuffix(block, "\n"),
		"in a script":          "#!/usr/bin/env python\n# a note\n\n" + block + "import rich\n",
		"right behind code":    "import rich\n" + block,
		"with \\r\\n":          "\ufeff" + strings.ReplaceAll(block, "\n", "\r\n"),
		"beside others":        "# /// pyproject\n# x\n# ///\n\n" + block + "\n# /// script\n# no end\n",
	} {
		got, err := readScript(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(metadata{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no block":          "import rich\n",
		"not at the margin": "  # /// script\n  # dependencies = [\"rich\"]\n  # ///\n",
		"a remark":          "#/// script\nx = 1\n",
		"another type":      "# /// scripts\n# dependencies = [\"rich\"]\n# ///\n",
		"an empty table":    "# /// script\n# ///\n",
	} {
		if got, err := readScript(text); err != nil || got.dependencies != nil || got.requiresPython != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for text, want := range map[string]string{
		"# /// script\n# dependencies = [\"rich\"]\n": "line 1 of the script begins a block of metadata, " +
			"and there is no line # /// that ends it",
		"\n# /// script\n# dependencies = []\n\n# ///\n": "line 2 of the script begins a block of metadata, " +
			"and there is no line # /// that ends it",
		"#/// script\n# dependencies = [\"rich\"]\n# ///\n": `line 1 of the script, "#/// script", does not begin ` +
			`a block`,
		"# /// Script \n# dependencies = [\"rich\"]\n# ///\n": `line 1 of the script, "# /// Script ", does not ` +
			`begin a block`,
		"# /// script\n#dependencies = [\"rich\"]\n# ///\n": `line 2 of the script, "#dependencies = [\"rich\"]", ` +
			`does not belong in a block`,
		"# /// script\n# dependencies = [\"rich\"]\n# ///  \n": `line 3 of the script, "# ///  ", does not belong in ` +
			`a block`,
	} {
		_, err := readScript(text)
		if e := new(Error); !errors.As(err, &e) || !strings.HasPrefix(e.Message, want) || e.Hint == "" ||
			e.Param != "script" {
			t.Errorf("%q: %v, not %s", text, err, want)
		}
	}
	// The last line that may end the block ends it.
	if got, err := readScript("# /// script\n# x = '''\n# ///\n# '''\n# dependencies = ['a']\n# ///\n"); err != nil ||
		len(got.dependencies) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// rooted is an absolute path of this system.
func rooted(path string) string {
	if runtime.GOOS == "windows" {
		return "C:" + filepath.FromSlash(path)
	}
	return path
}

func TestAPythonIsAVersionSpecifiersOrAPath(t *testing.T) {
	path := rooted("/usr/bin/python3")
	for _, c := range []struct{ python, requires, want, fits string }{
		{"", "", "", ""},
		{"3.12", "", "3.12", ""},
		{"3.12.4", "", "3.12.4", ""},
		{"==3.12.*", "", "3.12", ""},
		{" == 3.12.4 ", "", "3.12.4", ""},
		{"==3.12", "", "==3.12", ""}, // which is 3.12.0
		{">= 3.11, < 3.14", "", "<3.14,>=3.11", ""},
		{"~=3.11", "", "~=3.11", ""},
		{">=3.13.0rc1", "", ">=3.13.0rc1", ""},
		{"", ">=3.11", ">=3.11", ""},
		{"", ">=3.11,", ">=3.11", ""},
		{"", " ", "", ""},
		{"3.12", ">=3.11", "==3.12.*,>=3.11", ""},
		{"3.12.4", "==3.12.*", "==3.12.*,==3.12.4", ""},
		{">=3.11", ">=3.11,!=3.12.*", "!=3.12.*,>=3.11", ""},
		{path, "", path, ""},
		{rooted("/usr/bin//python3"), "<4,>=3.11", path, "<4,>=3.11"},
		{path, "==3.12.*", path, "==3.12.*"},
	} {
		got, fits, err := readPython(c.python, c.requires)
		if got != c.want || fits != c.fits || err != nil {
			t.Errorf("%q and %q: %q %q %v, want %q %q", c.python, c.requires, got, fits, err, c.want, c.fits)
		}
	}
}

func TestTheSameNeedsAreTheSameValue(t *testing.T) {
	want := Needs{Packages: []string{"a", "b>=1", "c"}, Python: "3.12"}
	for i, p := range []Request{
		{Packages: []string{"c", "b>=1", "a"}, Python: "3.12"},
		{Packages: []string{"A", "b >= 1", "a"}, Requirements: "c\nB>=1\n", Python: "==3.12.*"},
		{Requirements: "# x\nb>=1\na",
			Script: "# /// script\n# dependencies = ['c']\n# requires-python = '==3.12.*'\n# ///\n"},
		{Script: "# /// script\n# dependencies = ['c', 'b>=1', 'a']\n# requires-python = '== 3.12.*'\n# ///\n"},
	} {
		got, err := p.Needs()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%d: %v\n%s", i, err, diff)
		}
	}
	if none, err := (Request{Requirements: "# none\n", Script: "print()", Packages: []string{}}).Needs(); err != nil ||
		none.Packages != nil || none.Python != "" {
		t.Errorf("%+v, %v", none, err)
	}
}

func TestBadNeedsAreNamedWithTheirPlace(t *testing.T) {
	script := func(lines string) Request {
		return Request{Script: "#!python\n# /// script\n" + lines + "# ///\n"}
	}
	for _, c := range []struct {
		p           Request
		param, want string
	}{
		{Request{Packages: []string{"a", "./b"}}, "packages", `packages has "./b", which is a path`},
		{Request{Packages: []string{"b @ https://ada:secret@a.b/c d"}}, "packages", "://***@a.b/c d"},
		{Request{Packages: strings.Split(strings.TrimSuffix(strings.Repeat("a,b>=1,", 600), ","), ",")}, "", ""},
		{Request{Requirements: "a\n\n-r x.txt"}, "requirements", "line 3 of requirements has the option -r"},
		{Request{Requirements: "--index-url=https://a.b"}, "requirements",
			"line 1 of requirements has the option --index-url"},
		{Request{Requirements: "a==1 \\\n  --hash=sha256:00"}, "requirements", `line 1 of requirements, "a==1`},
		{Request{Requirements: "a ; os_name == 'x' --config-settings x"}, "requirements", `not a marker`},
		{Request{Requirements: "a --global-option x"}, "requirements", "has the option --global-option"},
		{Request{Requirements: "a\n./x.whl"}, "requirements", `line 2 of requirements, "./x.whl", is a path`},
		{script("# x = 1\n# y = [\n# z = 1\n"), "script", "line 5 of the script cannot be read"},
		{script("# dependencies = 'a'\n"), "script", "line 3 of the script: dependencies must be a list of strings"},
		{script("# x = 1\n# dependencies = ['a', 1]\n"), "script",
			"line 4 of the script: dependencies must be a list of strings"},
		{script("# dependencies = ['-r x']\n"), "script",
			`line 3 of the script: dependencies has "-r x", which is an option`},
		{script("# requires-python = 3.11\n"), "script", "line 3 of the script: requires-python must be a string"},
		{script("# requires-python = '3.11'\n"), "script",
			`requires-python of the script has "3.11", which is not a version specifier`},
		{script("# requires-python = '>=3.12,<3.9'\n"), "script", "no Python satisfies requires-python of the script"},
		{script("# [tool.uv]\n# exclude-newer = '2024-01-01'\n"), "script",
			`line 4 of the script sets "exclude-newer" in tool.uv`},
		{script("# x = 1\n# [[tool.uv.index]]\n# url = 'x'\n"), "script",
			`line 4 of the script sets "index" in tool.uv`},
		{script("# tool.uv.sources.a = {path = 'x'}\n"), "script", `line 3 of the script sets "sources" in tool.uv`},
		{Request{Script: "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n"}, "script",
			"line 5 of the script begins a second block"},
		{Request{Python: "python3"}, "python", `python has "python3", which is neither`},
		{Request{Python: "3"}, "python", `neither`},
		{Request{Python: ">=3.11 <3.14"}, "python", `neither`},
		{Request{Python: ">=3.11.*"}, "python", `neither`},
		{Request{Python: "~=3"}, "python", `neither`},
		{Request{Python: ">=3.11||<3"}, "python", `neither`},
		{Request{Python: ">=3.11,,<4"}, "python", `neither`},
		{Request{Python: "./python"}, "python", `neither`},
		{Request{Python: rooted("/x\ny")}, "python", `control character`},
		{Request{Python: "3.9", Script: "# /// script\n# requires-python = '>=3.11'\n# ///\n"}, "python",
			`python is "3.9", and the script requires ">=3.11": no Python is both`},
	} {
		_, err := c.p.Needs()
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Param != c.param || !strings.Contains(e.Message, c.want) || e.Hint == "" {
			t.Errorf("%#v, want %q of %s", err, c.want, c.param)
		}
	}
	many := make([]string, MaxRequirements+1)
	for i := range many {
		many[i] = "a" + strings.Repeat("b", i%50) + ">=" + strings.Repeat("1", 1+i/50)
	}
	if _, err := (Request{Packages: many}).Needs(); err == nil || !strings.Contains(err.Error(), "1001 requirements") {
		t.Error(err)
	}
}

func FuzzNeeds(f *testing.F) {
	f.Add("pandas>=2", "a\nb --hash=x\n-r c",
		"# /// script\n# dependencies = ['x']\n# requires-python = '>=3'\n# ///\n", "3.12")
	f.Add("a[b] @ https://c/d ; e", "a \\\n b # c", "# /// script\n# [tool.uv]\n# a = 1\n# ///\n", ">=3.11,<4")
	f.Add("a;b=='c'", "", "# /// script\n# a = [\n# ///\n", "/x")
	f.Fuzz(func(t *testing.T, one, file, script, python string) {
		got, err := Request{Packages: []string{one}, Requirements: file, Script: script, Python: python}.Needs()
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Param == "" || e.Hint == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		again, err := Request{Packages: got.Packages, Python: got.Python}.Needs()
		if err != nil || !cmp.Equal(got.Packages, again.Packages) || got.Python != again.Python {
			t.Fatalf("%+v becomes %+v, %v", got, again, err)
		}
		for _, r := range got.Packages { // each is one line of a requirements file, and means the same there
			if list, _, err := readRequirements(r); err != nil || len(list) != 1 || list[0] != r {
				t.Fatalf("%q is %q, %v", r, list, err)
			}
		}
	})
}
