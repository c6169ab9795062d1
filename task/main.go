// Command task builds, checks and packages this repository. It needs nothing but Go to start:
//
//	go run ./task NAME [ARG...]
//
// Without a name it prints the menu, which is in menu.go.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A task runs in the top folder of the repository, once at most.
type task struct {
	name, about string
	needs       string                    // tasks that run before it
	script      string                    // for sh, with the arguments that the task is given
	run         func(args []string) error // in place of a script
	count       func(*result, string)     // of a suite: counts the tests in what its script printed
}

func main() {
	program, err := filepath.Abs("bin/runtimed")
	if err == nil {
		err = os.Setenv("RUNTIMED_BIN", program) // what the tests start
	}
	if err == nil {
		err = withoutStamp()
	}
	if err == nil && len(os.Args) > 1 {
		err = perform(os.Stdout, os.Args[1], os.Args[2:]...)
	} else {
		for _, t := range menu() {
			fmt.Printf("%-18s%s\n", t.name, t.about)
		}
	}
	if err != nil && err != errFailed {
		fmt.Fprintln(os.Stderr, "task:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// withoutStamp has Go not ask git for the commit where it would not build, as in a clone of another user, or would name
// the commit of a repository around ours.
func withoutStamp() error {
	below, err := exec.Command("git", "rev-parse", "--show-prefix").Output()
	if err == nil && strings.TrimSpace(string(below)) == "" {
		return nil
	}
	flags, err := exec.Command("go", "env", "GOFLAGS").Output()
	if err != nil {
		return fmt.Errorf("go env GOFLAGS: %w", err)
	}
	return os.Setenv("GOFLAGS", strings.TrimSpace(string(flags))+" -buildvcs=false")
}

func find(name string) (task, error) {
	all := menu()
	i := slices.IndexFunc(all, func(t task) bool { return t.name == name })
	if i < 0 {
		return task{}, fmt.Errorf("there is no task %s; go run ./task prints the menu", name)
	}
	return all[i], nil
}

func perform(out io.Writer, name string, args ...string) error {
	t, err := find(name)
	if err != nil {
		return err
	}
	if t.count != nil {
		return report([]*result{t.suite(out, args...)})
	}
	if err := prepare(out, t); err != nil {
		return err
	}
	if t.run != nil {
		return t.run(args)
	}
	return shell(out, t, args...)
}

var prepared = map[string]bool{}

// prepare runs what a task needs and has not run yet.
func prepare(out io.Writer, t task) error {
	for name := range strings.FieldsSeq(t.needs) {
		if prepared[name] {
			continue
		}
		prepared[name] = true
		if err := perform(out, name); err != nil {
			return err
		}
	}
	return nil
}

func shell(out io.Writer, t task, args ...string) error {
	c := exec.Command("sh", append([]string{"-euxc", t.script, t.name}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, out, out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}
