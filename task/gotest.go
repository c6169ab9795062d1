package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// goTests prints what go test prints, and keeps count of what it says with -json alone.
func goTests(out io.Writer, flags, args []string) *result {
	g := &goRun{result: result{suite: "go"}, out: out, said: map[event]*strings.Builder{}}
	if slices.Contains(flags, "-tags") && !slices.Contains(flags, "-race") && !slices.Contains(flags, "-exec") {
		g.skip(1, noRace)
	}
	line := slices.Concat([]string{"test", "-json", "-parallel", "3", "-timeout", "30m"}, flags, args)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "./") }) {
		line = append(line, "./...")
	}
	fmt.Fprintln(out, "$ go", strings.Join(line, " "))
	c := exec.Command("go", line...)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		g.err = err
		return &g.result
	}
	g.read(pipe)
	g.err = c.Wait()
	g.tellSlowest()
	return &g.result
}

type goRun struct {
	result
	out  io.Writer
	said map[event]*strings.Builder // by package and test
	took []event
}

const slowest = 15 // tests that are named in the end

func (g *goRun) tellSlowest() {
	slices.SortFunc(g.took, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	fmt.Fprintln(g.out, "The slowest tests:")
	for _, e := range g.took[:min(slowest, len(g.took))] {
		fmt.Fprintf(g.out, "%6.1f s  %s %s\n", e.Elapsed, e.Package, e.Test)
	}
}

func (g *goRun) read(pipe io.Reader) {
	r := bufio.NewReader(pipe)
	for {
		line, err := r.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			g.take(e)
		} else {
			g.out.Write(line)
		}
		if err != nil {
			return
		}
	}
}

func (g *goRun) take(e event) {
	key := event{Package: e.Package, Test: e.Test}
	switch e.Action {
	case "build-output":
		io.WriteString(g.out, e.Output)
	case "output":
		if strings.HasPrefix(e.Test, "Benchmark") {
			key.Test = "" // no event tells of its end
		}
		if g.said[key] == nil {
			g.said[key] = &strings.Builder{}
		}
		if !strings.HasPrefix(e.Output, "=== ") && e.Output != "PASS\n" {
			g.said[key].WriteString(e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test != "" {
			g.took = append(g.took, e)
		}
		g.ended(key, e.Action)
	}
}

var (
	skipReason = regexp.MustCompile(`(?m)^ *[\w.]+\.go:\d+: (.*)$`)
	// what a test says itself, and not a command that it ran
	failReason = regexp.MustCompile(
		`(?m)^ *([\w.]+\.go:\d+: [^$\n].*|FAIL: .*|panic: .*|fatal error: .*|WARNING: DATA RACE)$`)
)

func (g *goRun) ended(key event, how string) {
	text := ""
	if g.said[key] != nil {
		text = g.said[key].String()
		delete(g.said, key)
	}
	whole := 0
	if key.Test != "" && !strings.Contains(key.Test, "/") {
		whole = 1
	}
	switch {
	case how == "skip" && key.Test != "":
		why := "no reason given"
		if m := skipReason.FindStringSubmatch(text); m != nil {
			why = m[1]
		}
		g.skip(1, why)
	case how == "pass" && key.Test != "":
		g.passed += whole
	case how == "fail":
		g.failed += whole
		if key.Test == "" {
			for unfinished, said := range g.said { // of a package that ended in the middle of a test
				if unfinished.Package == key.Package {
					text = said.String() + text
					delete(g.said, unfinished)
				}
			}
		}
		io.WriteString(g.out, text)
		name := strings.TrimSpace(key.Package + " " + key.Test)
		told := func(failure string) bool { return strings.HasPrefix(failure, "  "+name+" ") }
		if key.Test == "" && slices.ContainsFunc(g.failures, told) {
			return
		}
		g.failures = append(g.failures, "  "+name)
		for _, m := range failReason.FindAllStringSubmatch(text, 5) {
			g.failures = append(g.failures, "    "+m[1][:min(len(m[1]), 300)])
		}
	case how == "pass":
		io.WriteString(g.out, text)
	}
}
