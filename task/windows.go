package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

const withWine = "testdata/tools/with-wine"

// These are exit codes of testdata/tools/with-wine, the first one of all testdata/tools/with-*.
const (
	unable  = 77 // a program is missing
	crashed = 75 // Wine's own server has crashed, which says nothing of us
)

// testWindows runs itself beside a Windows machine, and there the tests.
func testWindows(args []string) error {
	overlay := os.Getenv("WINE_OVERLAY")
	if overlay == "" {
		return besideWindows(args)
	}
	program, err := filepath.Abs("bin/windows/runtimed.exe")
	if err != nil {
		return err
	}
	exe, err := filepath.Abs("testdata/tools/wine/exec")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"GOOS": "windows", "GOARCH": "amd64", "CGO_ENABLED": "0",
		"RUNTIMED_BIN": "Z:" + filepath.ToSlash(program)} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	flags := []string{"-exec", exe, "-overlay", overlay}
	if len(args) > 0 {
		return report([]*result{goTests(os.Stdout, append(flags, "-tags", "e2e"), args)})
	}
	unit := goTests(os.Stdout, flags, nil)
	whole := goTests(os.Stdout, append(flags, "-tags", "e2e"), []string{"-run", "Windows", "./e2e"})
	unit.suite, whole.suite = "windows", "windows, whole"
	return report([]*result{unit, whole})
}

func besideWindows(args []string) error {
	for _, name := range []string{"build:windows", "build:windows:tests"} {
		if err := perform(os.Stdout, name); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var exit *exec.ExitError
	for range 2 {
		c := exec.Command(withWine, append([]string{self, "test:windows"}, args...)...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err = c.Run(); !errors.As(err, &exit) || exit.ExitCode() != crashed {
			break
		}
	}
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == unable && os.Getenv("CI") == "":
		r := &result{suite: "windows"}
		r.skip(1, "Wine or what its machine is made of is not installed")
		return report([]*result{r})
	case errors.As(err, &exit):
		return errFailed // it has said why
	}
	return err
}
