package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const promisesDoc = "../../docs/promises.md"

// TestThePromisesNameTestsThatExist also wants each test that was made for a promise to be named.
func TestThePromisesNameTestsThatExist(t *testing.T) {
	written := map[string]bool{} // by folder and name
	fill := func(dir, glob string, name *regexp.Regexp) {
		paths, err := filepath.Glob(filepath.Join("../..", dir, glob))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s in %s: %v", glob, dir, err)
		}
		for _, path := range paths {
			for _, m := range name.FindAllStringSubmatch(doc(t, path), -1) {
				written[dir+": "+m[1]] = true
			}
		}
	}
	for _, dir := range []string{
		"cmd/runtimed", "cmd/runt", "cmd/runt/zmtp", "config", "pool", "rpc", "rpc/server", "service",
		"internal/pyreq", "internal/redact", "internal/safefile", "internal/statedir",
	} {
		fill(dir, "*_test.go", regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`))
	}
	fill("clients/python/tests", "*.py", regexp.MustCompile(`(?m)^(?:async )?def (test_\w+)\(`))

	named := map[string]bool{}
	cell := regexp.MustCompile("(?:([\\w/]+): )?`((?:Test|Fuzz|test_)[\\w/]+)`")
	for line := range strings.Lines(doc(t, promisesDoc)) {
		dir := "cmd/runtimed"
		for _, m := range cell.FindAllStringSubmatch(line, -1) {
			switch {
			case m[1] == "Python":
				dir = "clients/python/tests"
			case m[1] != "":
				dir = m[1] // and of those that follow in the same line
			}
			name, script, _ := strings.Cut(m[2], "/")
			if named[dir+": "+name] = true; !written[dir+": "+name] {
				t.Errorf("there is no %s: %s", dir, name)
			}
			if _, err := os.Stat(filepath.Join("../..", dir, "testdata", script+".txt")); script != "" && err != nil {
				t.Errorf("there is no %s: %s: %v", dir, m[2], err)
			}
		}
	}
	paths, err := filepath.Glob("case_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(doc(t, path), -1) {
			if !named["cmd/runtimed: "+m[1]] {
				t.Errorf("%s is not named in %s", m[1], promisesDoc)
			}
		}
	}
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
}
