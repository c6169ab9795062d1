package main

import (
	"io"
	"strings"
	"testing"
)

func TestTheLastLineSaysWhatRanAndWhatWasSkippedAndWhy(t *testing.T) {
	g := &goRun{result: result{suite: "go"}, out: io.Discard, said: map[event]*strings.Builder{}}
	g.read(strings.NewReader(`
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no moon tonight\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB/one"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    a_test.go:9: got 3\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
`))
	g.err = errFailed
	python := &result{suite: "python"}
	countPytest(python, "1 failed?\nSKIPPED [2] tests/test_a.py:31: there is no chromium\n"+
		"==== 225 passed, 2 skipped in 14.75s ====\n")
	tap, spec := &result{suite: "typescript"}, &result{suite: "typescript"}
	countNode(tap, "ok 3 - refuses # SKIP only root can\n# tests 2\n# pass 1\n# fail 0\n# skipped 1\n")
	countNode(spec, "﹣ refuses (0.1ms) # only root can\nℹ pass 1\nℹ fail 0\nℹ skipped 1\n")
	for _, node := range []*result{tap, spec} {
		line, err := summary([]*result{&g.result, python, node})
		want := "FAILED: go 1 passed, 1 failed; python 225 passed; typescript 1 passed. " +
			"Skipped: 1 of go (no moon tonight); 2 of python (there is no chromium); 1 of typescript (only root can)."
		if line != want || err == nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	if got := strings.Join(g.failures, "\n"); got != "  p TestC\n    a_test.go:9: got 3" {
		t.Errorf("%s", got)
	}
}

func TestWhatABenchmarkMeasuredIsPrinted(t *testing.T) {
	var out strings.Builder
	g := &goRun{out: &out, said: map[event]*strings.Builder{}}
	g.read(strings.NewReader(`
{"Action":"run","Package":"p","Test":"BenchmarkA"}
{"Action":"output","Package":"p","Test":"BenchmarkA","Output":"a call 0.73 of a ping\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`))
	if !strings.Contains(out.String(), "a call 0.73 of a ping") {
		t.Errorf("%s", &out)
	}
}
