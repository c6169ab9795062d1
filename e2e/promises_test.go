//go:build unix

package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const promisesDoc = "../docs/promises.md"

// TestThePromisesNameTestsThatExist also wants each test that was made for a promise to be named.
func TestThePromisesNameTestsThatExist(t *testing.T) {
	written := map[string]bool{} // by folder and name
	function := regexp.MustCompile(`(?m)^(?:async )?(?:func|def) ((?:Test|Fuzz|test_)\w+)\(`)
	walk(t, "..", func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(path), "test_") {
			for _, m := range function.FindAllStringSubmatch(doc(t, path), -1) {
				written[strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")+": "+m[1]] = true
			}
		}
	})

	named := map[string]bool{}
	cell := regexp.MustCompile("(?:([\\w/]+): )?`((?:Test|Fuzz|test_)[\\w/]+)`")
	for line := range strings.Lines(doc(t, promisesDoc)) {
		dir := "e2e"
		for _, m := range cell.FindAllStringSubmatch(line, -1) {
			switch {
			case m[1] == "Python" || m[1] == "Jupyter":
				dir = "clients/" + strings.ToLower(m[1]) + "/tests"
			case m[1] != "":
				dir = m[1] // and of those that follow in the same line
			}
			name, script, _ := strings.Cut(m[2], "/")
			if named[dir+": "+name] = true; !written[dir+": "+name] {
				t.Errorf("there is no %s: %s", dir, name)
			}
			if found, _ := filepath.Glob("testdata/*/" + script + ".txt"); script != "" && len(found) == 0 {
				t.Errorf("there is no %s: %s", dir, m[2])
			}
		}
	}
	paths, err := filepath.Glob("promise_*_test.go")
	check(t, err)
	for _, path := range paths {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(doc(t, path), -1) {
			if !named["e2e: "+m[1]] {
				t.Errorf("%s is not named in %s", m[1], promisesDoc)
			}
		}
	}
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
}
