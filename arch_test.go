package runtimed_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// layers says who may import whom: a package may import what its line names, and only packages further down.
// "/*" stands for every package in that folder. CONTRIBUTING.md says what each is.
var layers = []struct{ pkg, mayImport string }{
	{"e2e", "cmd/* rpc rpc/server pool pool/* config service doctor kernel internal/*"},
	{"task", ""},
	{"packaging", ""},

	{"cmd/runtimed", "doctor pool pool/* rpc rpc/server config internal/* internal/redact/redactzap"},
	{"cmd/runt", "kernel rpc service config internal/*"},

	{"doctor", "pool pool/* rpc config internal/*"},
	{"internal/supervisor", "rpc internal/statedir"},
	{"kernel", "kernel/zmtp rpc internal/*"},
	{"kernel/zmtp", ""},
	{"internal/command", "rpc internal/*"},
	{"internal/bugreport", "rpc service config internal/*"},
	{"internal/daemon", "rpc service config internal/*"},
	{"internal/logview", "internal/*"},
	{"internal/metrics", "rpc"},
	{"internal/failure", "rpc internal/redact"},

	{"pool", "pool/builder pool/envdir pool/standby internal/*"},
	{"pool/conda", "pool/uv pool/builder pool/envdir pool/standby internal/*"}, // rattler lives in a venv that uv makes
	{"pool/uv", "pool/builder pool/envdir pool/standby internal/*"},
	{"pool/envdir", "pool/builder internal/*"},
	{"pool/builder", "pool/standby internal/*"},
	{"pool/standby", "internal/*"},

	{"rpc/server", "rpc internal/safefile"},
	{"rpc", "internal/statedir internal/lazyregexp"},
	{"service", "internal/*"},
	{"config", "internal/*"},

	{"internal/tool", "internal/proc internal/redact"},
	{"internal/proc", "internal/statedir internal/safefile"},
	{"internal/testkit", "internal/statedir"}, // for tests only
	{"internal/statedir", "internal/lazyregexp internal/safefile"},
	{"internal/project", "internal/pyreq internal/lazyregexp internal/safefile"},
	{"internal/pyreq", "internal/redact internal/lazyregexp"},
	{"internal/redact/redactzap", "internal/redact"},
	{"internal/redact", "internal/lazyregexp"},
	{"internal/safefile", ""},
	{"internal/words", ""},
	{"internal/launch", ""},
	{"internal/lazyregexp", ""},
}

// libraries may be imported only by these packages.
var libraries = map[string]string{
	"go.uber.org/fx":                  "cmd/runtimed",
	"github.com/sourcegraph/jsonrpc2": "rpc rpc/server",
	"github.com/alecthomas/kong":      "cmd/runt cmd/runtimed internal/words",
}

const (
	mostFiles   = 30 // of one package, tests not counted
	mostColumns = 120
	tab         = "    "
)

// mostLines is how long a package may be, tests not counted.
var mostLines = map[string]int{"pool": 4200, "cmd/runt": 4000, "cmd/runtimed": 2500}

// source is one Go file, of any system and with any build tag.
type source struct {
	path, pkg string
	test      bool
	imports   []string
	text      string
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := p != "." && strings.HasPrefix(d.Name(), ".")
			if hidden || slices.Contains([]string{"testdata", "node_modules", "clients", "examples"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" || path.Dir(p) == "." {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{path: p, pkg: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), text: string(text)}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return nil
	})
	if err != nil || len(all) < 100 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	return all
}

func rankOf(pkg string) int {
	for i, l := range layers {
		if l.pkg == pkg {
			return i
		}
	}
	return -1
}

func listed(list, pkg string) bool {
	for _, entry := range strings.Fields(list) {
		if dir, all := strings.CutSuffix(entry, "/*"); entry == pkg || all && path.Dir(pkg) == dir {
			return true
		}
	}
	return false
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		rank := rankOf(s.pkg)
		if rank < 0 {
			t.Errorf("%s: package %s is not in the table", s.path, s.pkg)
			continue
		}
		seen[s.pkg] = true
		for _, name := range s.imports {
			if own, ok := strings.CutPrefix(name, "runtimed/"); ok && own != s.pkg {
				switch to := rankOf(own); {
				case to <= rank:
					t.Errorf("%s: imports %s, which is further up", s.path, own)
				case !s.test && (own == "internal/testkit" || !listed(layers[rank].mayImport, own)):
					t.Errorf("%s: %s may not import %s", s.path, s.pkg, own)
				}
			}
			for library, users := range libraries {
				if (name == library || strings.HasPrefix(name, library+"/")) && !listed(users, s.pkg) {
					t.Errorf("%s: %s may not import %s", s.path, s.pkg, name)
				}
			}
		}
	}
	for _, l := range layers {
		if !seen[l.pkg] {
			t.Errorf("%s is in the table and has no files", l.pkg)
		}
	}
}

func TestPackagesStaySmall(t *testing.T) {
	files, lines := map[string]int{}, map[string]int{}
	for _, s := range sources(t) {
		if !s.test {
			files[s.pkg]++
			lines[s.pkg] += strings.Count(s.text, "\n")
		}
	}
	for pkg, n := range files {
		if n > mostFiles {
			t.Errorf("%s has %d files, and may have %d", pkg, n, mostFiles)
		}
	}
	for pkg, most := range mostLines {
		if n := lines[pkg]; n > most {
			t.Errorf("%s has %d lines, and may have %d", pkg, n, most)
		}
	}
}

func TestLinesFitTheScreen(t *testing.T) {
	for _, s := range sources(t) {
		n := 0
		for line := range strings.Lines(s.text) {
			n++
			width := utf8.RuneCountInString(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", tab))
			if width > mostColumns {
				t.Errorf("%s:%d: %d columns", s.path, n, width)
			}
		}
	}
}
