//go:build ignore

// A stand-in for CPython's venvlauncher.exe: runs the Python that pyvenv.cfg names, as that of this venv.
package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	self, _ := os.Executable()
	f, err := os.Open(filepath.Join(filepath.Dir(filepath.Dir(self)), "pyvenv.cfg"))
	if err != nil {
		println("no pyvenv.cfg")
		os.Exit(103)
	}
	home := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok && strings.TrimSpace(k) == "home" {
			home = strings.TrimSpace(v)
		}
	}
	c := exec.Command(filepath.Join(home, filepath.Base(self)), os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "__PYVENV_LAUNCHER__="+self)
	err = c.Run()
	var e *exec.ExitError
	if errors.As(err, &e) {
		os.Exit(e.ExitCode())
	}
	if err != nil {
		println(err.Error())
		os.Exit(104)
	}
}
