//go:build unix

package testkit

import (
	"embed"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed testdata
var standins embed.FS

const (
	Exe    = ""                             // what the name of a program ends in
	Python = "bin/python"                   // in an environment
	Site   = "lib/python3.13/site-packages" // in one that the stand-ins make
	Up     = "../../../"                    // from there to the environment
)

// script makes a stand-in.
func (k *Kit) script(name, from string) {
	k.Helper()
	data, err := standins.ReadFile("testdata/" + from)
	Check(k.T, err)
	WriteProgram(k.T, filepath.Join(k.Bin, name), data)
}

// environ are the variables that programs need besides PATH and HOME.
func environ(string) []string { return nil }

const usualPath = "/usr/bin:/bin"

func exitWith(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
}
