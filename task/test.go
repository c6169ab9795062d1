package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// result is what one suite did.
type result struct {
	suite          string
	passed, failed int
	skipped        map[string]int // how many tests, by the reason
	failures       []string       // the failed tests and why, in short
	err            error
}

func (r *result) skip(n int, why string) {
	if r.skipped == nil {
		r.skipped = map[string]int{}
	}
	r.skipped[why] += n
}

// test runs the other languages beside Go: all of them mostly wait.
func test(args []string) error {
	out := &lockedWriter{w: os.Stdout}
	var others []*result
	var wait sync.WaitGroup
	wait.Go(func() {
		// The Go tests ask again, and say why there is none.
		_ = exec.Command("python3", "testdata/tools/conda_channel.py").Run()
		for _, t := range menu() {
			if t.count != nil {
				var text bytes.Buffer
				others = append(others, t.suite(&text))
				out.Write(text.Bytes())
			}
		}
	})
	all := []*result{goTests(out, allTests(), args)}
	wait.Wait()
	return report(append(all, others...))
}

func testUnit(args []string) error { return report([]*result{goTests(os.Stdout, nil, args)}) }
func testGo(args []string) error   { return report([]*result{goTests(os.Stdout, allTests(), args)}) }

const noRace = "no C compiler: the Go tests ran without -race"

// allTests are the flags for all Go tests, with -race where a C compiler can link it.
func allTests() []string {
	flags := []string{"-tags", "e2e"}
	c := exec.Command("go", "build", "-race", "-o", os.DevNull, "./task")
	c.Env = append(os.Environ(), "CGO_ENABLED=1")
	if c.Run() == nil {
		flags = append(flags, "-race")
	}
	return flags
}

// suite runs the tests of another language.
func (t task) suite(out io.Writer, args ...string) *result {
	r := &result{suite: strings.TrimPrefix(t.name, "test:")}
	if err := possible(t); err != nil {
		r.skip(1, err.Error())
		if os.Getenv("CI") != "" { // where nothing may be skipped
			r.err = err
		}
		return r
	}
	if r.err = prepare(out, t); r.err != nil {
		return r
	}
	var text bytes.Buffer
	r.err = shell(io.MultiWriter(out, &text), t, args...)
	t.count(r, text.String())
	return r
}

func possible(t task) error {
	if strings.Contains(t.needs, "setup:typescript") {
		_, err := exec.LookPath("npm")
		return err
	}
	if exec.Command("python3", "-c", "import venv, ensurepip").Run() != nil {
		return errors.New("there is no python3 with venv and pip (Debian: apt-get install python3-venv)")
	}
	return nil
}

var (
	pytestCount = regexp.MustCompile(`(\d+) (passed|failed|errors?)\b`)
	pytestSkip  = regexp.MustCompile(`(?m)^SKIPPED \[(\d+)\] \S+: (.*)$`)
	nodeCount   = regexp.MustCompile(`(?m)^(?:#|ℹ) (pass|fail|cancelled) (\d+)$`)
	nodeSkip    = regexp.MustCompile(`(?m)^ *(?:ok .*# SKIP|﹣ .* #) ?(.*)$`)
)

// countPytest reads the last lines of pytest -rs.
func countPytest(r *result, text string) {
	for _, m := range pytestSkip.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		r.skip(n, m[2])
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, m := range pytestCount.FindAllStringSubmatch(lines[len(lines)-1], -1) {
		r.add(m[1], m[2] == "passed")
	}
}

// countNode reads what node --test prints, on a terminal and elsewhere.
func countNode(r *result, text string) {
	for _, m := range nodeSkip.FindAllStringSubmatch(text, -1) {
		r.skip(1, m[1])
	}
	for _, m := range nodeCount.FindAllStringSubmatch(text, -1) {
		r.add(m[2], m[1] == "pass")
	}
}

func (r *result) add(number string, passed bool) {
	n, _ := strconv.Atoi(number)
	if passed {
		r.passed += n
	} else {
		r.failed += n
	}
}

// errFailed comes after a summary that says what failed.
var errFailed = errors.New("failed")

// report ends with one line that says what ran, and what did not and why.
func report(all []*result) error {
	var failures []string
	for _, r := range all {
		failures = append(failures, r.failures...)
	}
	if len(failures) > 0 {
		fmt.Println("\nFailed:") // again and in short: a log may be cut off at its beginning
		for _, line := range failures[:min(len(failures), 40)] {
			fmt.Println(line)
		}
	}
	line, err := summary(all)
	fmt.Println("\n" + line)
	return err
}

func summary(all []*result) (line string, err error) {
	var ran, skipped []string
	for _, r := range all {
		text := fmt.Sprintf("%s %d passed", r.suite, r.passed)
		if r.failed > 0 {
			text += fmt.Sprintf(", %d failed", r.failed)
		} else if r.err != nil {
			text += fmt.Sprintf(", %v", r.err)
		}
		if r.err != nil {
			err = errFailed
		}
		ran = append(ran, text)
		for _, why := range slices.Sorted(maps.Keys(r.skipped)) {
			skipped = append(skipped, fmt.Sprintf("%d of %s (%s)", r.skipped[why], r.suite, why))
		}
	}
	if len(skipped) == 0 {
		skipped = []string{"nothing"}
	}
	line = "OK: "
	if err != nil {
		line = "FAILED: "
	}
	return line + strings.Join(ran, "; ") + ". Skipped: " + strings.Join(skipped, "; ") + ".", err
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
