package main

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const operationsDoc = "../../docs/operations.md"

func document(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// rows are those of a table of the document, cell by cell and without the marks of code.
func rows(t *testing.T, head string) (out [][]string) {
	t.Helper()
	_, table, found := strings.Cut(document(t, operationsDoc), "\n"+head+"\n")
	if !found {
		t.Fatalf("operations.md has no table %s", head)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(strings.ReplaceAll(cell, "`", "")))
		}
		if !strings.HasPrefix(cells[0], "---") {
			out = append(out, cells)
		}
	}
	return out
}

func TestTheExitCodesAreThoseOfTheDocumentWordByWord(t *testing.T) {
	var got, want []string
	for _, e := range exitEntries() {
		got = append(got, e.Name+": "+e.Text)
	}
	for _, row := range rows(t, "| `runt` | when |") {
		want = append(want, strings.Join(row, ": "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table in the code is\n%q\nand that in operations.md\n%q", got, want)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t([A-Z]\w+) += (\d+)`).
		FindAllStringSubmatch(document(t, "../../internal/failure/failure.go"), -1) {
		if n, _ := strconv.Atoi(m[2]); !slices.ContainsFunc(exitEntries(),
			func(e entry) bool { return e.Name == strconv.Itoa(n) }) {
			t.Errorf("%s is not in the table", m[1])
		}
	}
}

func TestTheVariablesAndKeysAreThoseOfTheDocument(t *testing.T) {
	var got, want []string
	for _, e := range variables {
		flag, _, _ := strings.Cut(e.Flag, " ")
		got = append(got, e.Name+" "+flag)
	}
	for _, row := range rows(t, "| variable | flag | what |") {
		flag, _, _ := strings.Cut(row[1], ",")
		want = append(want, row[0]+" "+flag)
	}
	if slices.Sort(got); !slices.Equal(got, sorted(want)) {
		t.Errorf("the variables are %q, and in operations.md %q", got, want)
	}
	keys := keyEntries()
	got, want = nil, nil
	for _, e := range keys {
		got = append(got, e.Name)
		if e.Default == "" {
			t.Errorf("%s has no default: the package config does not know it", e.Name)
		}
	}
	for _, row := range rows(t, "| key | default | range | what it does |") {
		want = append(want, row[0])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the keys are %q, and in operations.md %q", got, want)
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func TestTheExamplesAreUnderstood(t *testing.T) {
	for _, e := range examples {
		_, words, ok := strings.Cut(e.line, "runt ")
		if !ok {
			t.Errorf("%s has no runt", e.line)
			continue
		}
		var out strings.Builder
		args := append([]string{"--help"}, regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s)]+`).FindAllString(words, -1)...)
		if code := run(args, nil, &out, &out); code != 0 {
			t.Errorf("%s: %s", e.line, out.String())
		}
	}
}
