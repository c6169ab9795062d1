// Command task builds, checks and packages this repository. It needs nothing but Go to start:
//
//	go run ./task NAME [ARG...]
//
// Without a name it prints the menu.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A task runs in the top folder of the repository.
type task struct {
	name, about string
	run         func(args ...string) error
}

func menu() []task {
	return []task{
		{"build", "build runtimed and runt into bin/", build},
		{"demo", "fill a pool, take an environment and start a kernel in it", demo},
		{"test", "run every test in Go, Python and TypeScript", test},
		{"test:unit", "run the Go tests that need nothing but Go, in under a minute", unit},
		{"test:go", "run all Go tests; arguments go to go test", testGo},
		{"test:deb", "install, use and remove the deb here (needs root and dpkg)", script("testdata/debtest.sh")},
		{"test:packages", "install, use and remove what pip and npm get, in an empty home", testPackages},
		{"lint", "check style and types in all three languages", lint},
		{"fmt", "format in all three languages", format},
		{"bench", "measure what the pool costs", bench},
		{"soak", "kill and load the daemon and fuzz, for over an hour", soak},
		{"packages", "make what pip and npm install, for this machine, all, or os/arch,os/arch", packages},
		{"release:snapshot", "make everything that a release has, in dist/; publish nothing", release},
		{"py:setup", "install the development tools of the Python packages", pySetup},
		{"py:test", "run the tests in Python; arguments go to pytest", pyTest},
		{"py:build", "build the wheels and the source archives", pyBuild},
		{"ts:setup", "install the development tools of the TypeScript client and the examples", tsSetup},
		{"ts:test", "run the tests in TypeScript", tsTest},
		{"ts:build", "compile to clients/typescript/dist", tsBuild},
	}
}

func main() {
	if len(os.Args) < 2 {
		for _, t := range menu() {
			fmt.Printf("%-18s%s\n", t.name, t.about)
		}
		return
	}
	os.Exit(perform(os.Args[1], os.Args[2:]))
}

func perform(name string, args []string) int {
	for _, t := range menu() {
		if t.name == name {
			err := t.run(args...)
			if err == nil {
				return 0
			}
			if err != errFailed {
				fmt.Fprintf(os.Stderr, "task %s: %v\n", name, err)
			}
			return 1
		}
	}
	fmt.Fprintf(os.Stderr, "there is no task %s; go run ./task shows them\n", name)
	return 2
}

// do runs words in a folder. Leading words of the form NAME=VALUE are variables.
func do(out io.Writer, dir, words string, more ...string) error {
	line := append(strings.Fields(words), more...)
	var env []string
	for strings.Contains(line[0], "=") {
		env, line = append(env, line[0]), line[1:]
	}
	fmt.Fprintln(out, "$", strings.Join(append(env, line...), " "))
	c := exec.Command(line[0], line[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = out, out
	if out == os.Stdout {
		c.Stdin, c.Stderr = os.Stdin, os.Stderr
	}
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", line[0], err)
	}
	return nil
}

// steps runs functions until one fails.
func steps(all ...func(...string) error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// each runs lines here until one fails.
func each(lines ...string) error {
	for _, line := range lines {
		if err := do(os.Stdout, ".", line); err != nil {
			return err
		}
	}
	return nil
}

func script(path string) func(...string) error {
	return func(args ...string) error { return do(os.Stdout, ".", "sh "+path, args...) }
}

// build leaves out -trimpath, with which nothing compiled for go run or go test could be used again.
func build(...string) error {
	return do(os.Stdout, ".", "CGO_ENABLED=0 go build -o bin/ ./cmd/...")
}

func demo(...string) error {
	fmt.Println("# compiling runtimed and runt; the first time takes half a minute")
	if err := build(); err != nil {
		return err
	}
	return each("python3 testdata/demo.py")
}

func lint(...string) error {
	if err := each(
		"go vet -tags e2e ./...",
		"GOOS=darwin go vet -tags e2e ./...",
		"GOOS=windows go vet -tags e2e ./...",
		"go tool -modfile=tools.mod staticcheck -tags e2e ./...",
	); err != nil {
		return err
	}
	files, err := exec.Command("git", "ls-files", "*.go").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	out, err := exec.Command("gofmt", append([]string{"-l"}, strings.Fields(string(files))...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		return fmt.Errorf("go run ./task fmt would change:\n%s", out)
	}
	if err := steps(pySetup, tsSetup); err != nil {
		return err
	}
	return errors.Join(
		do(os.Stdout, python, ".venv/bin/ruff check . ../jupyter"),
		do(os.Stdout, python, ".venv/bin/ruff format --check . ../jupyter"),
		do(os.Stdout, python, ".venv/bin/mypy"),
		do(os.Stdout, jupyter, "../python/.venv/bin/mypy"),
		do(os.Stdout, typescript, "npm run lint"),
		do(os.Stdout, examples, "npm run lint"))
}

func format(...string) error {
	if err := steps(pySetup, tsSetup); err != nil {
		return err
	}
	return errors.Join(
		each("go fmt ./..."),
		do(os.Stdout, python, ".venv/bin/ruff check --fix-only . ../jupyter"),
		do(os.Stdout, python, ".venv/bin/ruff format . ../jupyter"),
		do(os.Stdout, typescript, "npm run fmt"),
		do(os.Stdout, examples, "npm run fmt"))
}

func bench(args ...string) error {
	if err := build(); err != nil {
		return err
	}
	line := daemon() + " go test -tags e2e -run ^$ -bench . -benchtime 1x -timeout 30m ./e2e"
	return do(os.Stdout, ".", line, args...)
}

func soak(...string) error {
	const long = "Kill|Load|Leaves|Restart|Burst|Model"
	err := each("RUNTIMED_SOAK=1 go test -tags e2e -race -timeout 2h -v -run " + long + " ./e2e ./pool")
	if err != nil {
		return err
	}
	targets, err := exec.Command("git", "grep", "-hoE", `^func Fuzz\w+`, "--", "*_test.go").Output()
	if err != nil {
		return fmt.Errorf("git grep: %w", err)
	}
	for _, target := range strings.Fields(strings.ReplaceAll(string(targets), "func ", "")) {
		files, err := exec.Command("git", "grep", "-l", "^func "+target+"(").Output()
		if err != nil {
			return fmt.Errorf("git grep: %w", err)
		}
		folder := "./" + filepath.Dir(strings.TrimSpace(string(files)))
		if err := each("go test -run ^$ -fuzz ^" + target + "$ -fuzztime 10m " + folder); err != nil {
			return err
		}
	}
	return nil
}

func testPackages(args ...string) error {
	if err := steps(pySetup, tsSetup); err != nil {
		return err
	}
	return script("testdata/packtest.sh")(args...)
}

func packages(args ...string) error {
	if err := steps(pySetup, tsSetup); err != nil {
		return err
	}
	platforms := "host"
	if len(args) > 0 {
		platforms = args[0]
	}
	return each("go run ./packaging -platforms " + platforms + " dist/packages")
}

// release gives goreleaser a remote: it takes a clone without one for one without a commit, and dates it in the year 1.
func release(...string) error {
	const name, value = "GIT_CONFIG_KEY_0=remote.origin.url", "GIT_CONFIG_VALUE_0=https://example.invalid/runtimed"
	const remote = "GIT_CONFIG_COUNT=1 " + name + " " + value
	err := each(
		remote+" go tool -modfile=release.mod goreleaser release --snapshot --clean",
		"cp -r build/packages/. dist")
	if err != nil {
		return err
	}
	return packages("all")
}

const (
	python     = "clients/python"
	jupyter    = "clients/jupyter" // with the tools of python
	typescript = "clients/typescript"
	examples   = "examples"
)

func pySetup(...string) error { return pyTools(os.Stdout) }
func pyBuild(...string) error {
	if err := pySetup(); err != nil {
		return err
	}
	return errors.Join(
		do(os.Stdout, python, ".venv/bin/python -m build --no-isolation"),
		do(os.Stdout, python, ".venv/bin/python -m build --no-isolation --outdir dist ../jupyter"))
}

func tsSetup(...string) error { return tsTools(os.Stdout) }
func tsBuild(...string) error {
	if err := tsSetup(); err != nil {
		return err
	}
	return do(os.Stdout, typescript, "npm run build")
}

func pyTools(out io.Writer) error {
	return installed(out, python, "requirements-dev.txt", ".venv/installed.txt", "python3 -m venv --clear .venv",
		".venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt")
}

func tsTools(out io.Writer) error {
	for _, dir := range []string{typescript, examples} {
		if err := installed(out, dir, "package-lock.json", "node_modules/installed.json", "npm ci"); err != nil {
			return err
		}
	}
	return nil
}

// installed runs lines unless they ran for this lock file before; then done is a copy of it.
func installed(out io.Writer, dir, lock, done string, lines ...string) error {
	want, err := os.ReadFile(filepath.Join(dir, lock))
	if err != nil {
		return err
	}
	done = filepath.Join(dir, done)
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(want, have) {
		return nil
	}
	for _, line := range lines {
		if err := do(out, dir, line); err != nil {
			return err
		}
	}
	return os.WriteFile(done, want, 0o644)
}

// daemon tells the tests which program to start.
func daemon() string {
	path, _ := filepath.Abs("bin/runtimed")
	return "RUNTIMED_BIN=" + path
}
