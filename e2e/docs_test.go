//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"runtimed/config"
	"runtimed/rpc"
)

// The documents are held to the code here: what they show is done, and what there is to name they name.
const (
	protocolDoc     = "../docs/protocol.md"
	operationsDoc   = "../docs/operations.md"
	troubleshootDoc = "../docs/troubleshoot.md"
)

// pages are all documents for users.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../README.md", "../docs/*.md", "../clients/*/README.md"} {
		found, err := filepath.Glob(pattern)
		check(t, err)
		all = append(all, found...)
	}
	if len(all) < 10 {
		t.Fatalf("only %q were found", all)
	}
	return all
}

func doc(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return string(data)
}

// block is a fenced part of a document.
type block struct {
	lang string
	line int // of its first line
	text string
}

func blocks(t *testing.T, path string, langs ...string) []block {
	t.Helper()
	var all []block
	var open *block
	for i, line := range strings.Split(doc(t, path), "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open != nil:
			all, open = append(all, *open), nil
		case fence:
			open = &block{lang: lang, line: i + 2}
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", path, open.line)
	}
	return slices.DeleteFunc(all, func(b block) bool { return !slices.Contains(langs, b.lang) })
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| (`[^|]*`)[^|]* \\|(.*)\\|$")
	code     = regexp.MustCompile("`([^`]+)`")
	// An error of troubleshoot.md: its messages, and after a break what to do.
	errorItem = regexp.MustCompile(`(?m)^\* ((?:.*[^\\\n]\n)*.*)\\\n  `)
)

func TestEveryConfigurationKeyIsToldWithItsDefault(t *testing.T) {
	text := doc(t, operationsDoc)
	cfg, err := config.Load(config.Flags{},
		func(name string) string { return map[string]string{"HOME": t.TempDir()}[name] })
	check(t, err)
	for _, s := range cfg.Settings() {
		key := strings.NewReplacer("pools.uv.", "pools.NAME.", "pools.conda.", "pools.NAME.").Replace(s.Key)
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(key) + "` \\|([^|]*)\\|.*$").FindStringSubmatch(text)
		if row == nil {
			t.Errorf("%s has no row in a table", key)
			continue
		}
		value, err := json.Marshal(s.Value)
		check(t, err)
		want := strings.ReplaceAll(string(value), ",", ", ")
		if key != "build.parallel" && !strings.Contains(row[1], "`"+want+"`") { // that one depends on the machine
			t.Errorf("the default of %s is %s, and not%s", s.Key, want, row[1])
		}
	}
}

func TestEveryTOMLBlockIsAConfiguration(t *testing.T) {
	for _, path := range pages(t) {
		for _, b := range blocks(t, path, "toml") {
			file := filepath.Join(t.TempDir(), "config.toml")
			check(t, os.WriteFile(file, []byte(b.text), 0o600))
			lock := "ipykernel==7.1.0 --hash=sha256:" + strings.Repeat("0", 64) + "\n" // team.txt, which a block names
			check(t, os.WriteFile(filepath.Join(filepath.Dir(file), "team.txt"), []byte(lock), 0o600))
			if _, err := config.Load(config.Flags{Config: file}, func(string) string { return "" }); err != nil {
				t.Errorf("%s:%d: %v", path, b.line, err)
			}
		}
	}
}

// TestWhatThereIsToNameIsNamed goes through the constants and types of the contract, the flags, variables and exit
// codes.
func TestWhatThereIsToNameIsNamed(t *testing.T) {
	protocol, operations, troubleshoot := doc(t, protocolDoc), doc(t, operationsDoc), doc(t, troubleshootDoc)
	names := func(where, text, name string) {
		t.Helper()
		if !strings.Contains(text, "`"+name) && !strings.Contains(text, `"`+name+`"`) &&
			!strings.Contains(text, name+"`") {
			t.Errorf("%s does not name %s", where, name)
		}
	}
	consts := constants(t, "../rpc/api.go", "../rpc/errors.go", "../pool/builder/builder.go")
	for name, value := range consts {
		for _, prefix := range []string{"Method", "Notify", "Kind", "Cause", "Env", "Pool", "Stage", "Source"} {
			if text, err := strconv.Unquote(value); err == nil && strings.HasPrefix(name, prefix) {
				names("protocol.md", protocol, text)
				if prefix == "Cause" {
					names("troubleshoot.md", troubleshoot, text)
				}
			}
		}
	}
	for kind, code := range rpc.Codes {
		if !strings.Contains(protocol, fmt.Sprintf("| %d | `%s` |", code, kind)) {
			t.Errorf("protocol.md has no row for the code %d of %s", code, kind)
		}
	}
	for _, tag := range jsonTags(t, "../rpc/api.go", "../rpc/errors.go", "../rpc/order.go") {
		if tag != "-" {
			names("protocol.md", protocol, tag)
		}
	}
	for _, method := range rpc.Methods {
		if !strings.Contains(protocol, `"method":"`+method.Name+`"`) {
			t.Errorf("protocol.md has no example of %s", method.Name)
		}
	}
	for _, limit := range []string{
		fmt.Sprintf("| %d MiB |", rpc.MaxMessage>>20), fmt.Sprintf("| %d KiB |", rpc.MaxHeader>>10),
		fmt.Sprintf("| %d |", rpc.MaxRunning),
		fmt.Sprintf("| %d MiB | the daemon stops", rpc.MaxUnsent>>20),
		fmt.Sprintf("| %.0f s |", rpc.WriteTimeout.Seconds()),
		fmt.Sprintf("| %d bytes", rpc.MaxLabel), "of a batch | " + thousands(rpc.MaxBatch), "nesting of a message | " +
			thousands(rpc.MaxDepth),
		"in line | " + thousands(rpc.MaxQueued), "| " + thousands(rpc.MaxConnections) + ", or", "one pool | " +
			thousands(rpc.MaxWaiters),
		thousands(int(rpc.MaxWait.Milliseconds())), thousands(int(rpc.DefaultWait.Milliseconds())),
	} {
		if !strings.Contains(protocol, limit) {
			t.Errorf("protocol.md does not say %q", limit)
		}
	}

	for _, variable := range regexp.MustCompile(`RUNTIMED_[A-Z_]+`).FindAllString(sources(t), -1) {
		if variable != rpc.JournalEntry { // a field of the journal's
			names("operations.md", operations, variable)
		}
	}
	codes := constants(t, "../internal/failure/failure.go", "../cmd/runtimed/main.go")
	if len(codes) < 9 {
		t.Errorf("only %d exit codes were found", len(codes))
	}
	for name, value := range codes {
		if !strings.Contains(operations, "\n| "+value+" |") {
			t.Errorf("operations.md has no row for the exit code %s (%s)", value, name)
		}
	}
}

// TestTheMessagesOfTheTroubleshootingAreReal finds each message that troubleshoot.md quotes in the source that prints
// it.
func TestTheMessagesOfTheTroubleshootingAreReal(t *testing.T) {
	source, seen := sources(t), 0
	for _, item := range errorItem.FindAllStringSubmatch(doc(t, troubleshootDoc), -1) {
		for _, message := range code.FindAllStringSubmatch(item[1], -1) {
			if !strings.Contains(message[1], "…") && strings.Count(message[1], " ") < 4 {
				continue // a name
			}
			for _, part := range strings.Split(message[1], "…") {
				if part = strings.Trim(part, " :,()"); len(part) > 5 && !strings.Contains(source, part) {
					t.Errorf("nothing says %q of %q", part, message[1])
				}
			}
			seen++
		}
	}
	if seen < 100 {
		t.Errorf("only %d messages were found", seen)
	}
}

func TestTheLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	for _, path := range pages(t) {
		for _, l := range link.FindAllStringSubmatch(doc(t, path), -1) {
			target := path
			if strings.HasPrefix(l[1], "https://") {
				continue
			}
			if l[1] != "" {
				target = filepath.Join(filepath.Dir(path), l[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if l[2] != "" && !slices.Contains(anchors(doc(t, target)), l[2]) {
				t.Errorf("%s: there is no heading %s in %s", path, l[2], target)
			}
		}
	}
}

// TestThePagesForUsersFitTheScreen leaves out what are tables of a contract.
func TestThePagesForUsersFitTheScreen(t *testing.T) {
	for _, path := range pages(t) {
		if path == protocolDoc || path == "../docs/promises.md" {
			continue
		}
		for i, line := range strings.Split(doc(t, path), "\n") {
			if n := utf8.RuneCountInString(line); n > 120 {
				t.Errorf("%s:%d has %d columns", path, i+1, n)
			}
		}
	}
}

func anchors(text string) []string {
	var all []string
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all = append(all, "#"+strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// sources is all code of this module, and none of the tests.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	walk(t, "..", func(path string) {
		if ext := filepath.Ext(path); (ext == ".go" || ext == ".py") && !strings.HasSuffix(path, "_test.go") &&
			!strings.HasPrefix(path, "../clients/") &&
			!strings.HasPrefix(path, "../task/") && !strings.HasPrefix(path, "../packaging/") {
			all.WriteString(doc(t, path))
		}
	})
	return all.String()
}

// walk is called with each file below dir but what no commit has.
func walk(t *testing.T, dir string, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case !d.IsDir():
			f(path)
		case name == "node_modules" || len(name) > 2 && name[0] == '.':
			return fs.SkipDir
		}
		return nil
	})
	check(t, err)
}

// constants are the constants of some files with a literal as their value, as the source writes it.
func constants(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range paths {
		ast.Inspect(parsed(t, path), func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					switch v := spec.Values[i].(type) {
					case *ast.BasicLit:
						found[name.Name] = v.Value
					case *ast.UnaryExpr:
						if lit, ok := v.X.(*ast.BasicLit); ok {
							found[name.Name] = v.Op.String() + lit.Value
						}
					}
				}
			}
			return true
		})
	}
	return found
}

func jsonTags(t *testing.T, paths ...string) []string {
	t.Helper()
	var tags []string
	for _, path := range paths {
		ast.Inspect(parsed(t, path), func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok && field.Tag != nil {
				raw, _ := strconv.Unquote(field.Tag.Value) // it compiles
				name, _, _ := strings.Cut(reflect.StructTag(raw).Get("json"), ",")
				tags = append(tags, name)
			}
			return true
		})
	}
	return tags
}

func parsed(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	check(t, err)
	return f
}
