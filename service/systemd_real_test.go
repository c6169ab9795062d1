//go:build e2e

package service

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

func TestSystemdItselfAcceptsTheUnitFiles(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, name := range []string{"plain", `o'd d%h$HOME${x}"q\né`} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			c := strange()
			c.Program, c.Socket = filepath.Join(dir, "runtimed"), filepath.Join(dir, "s")
			testkit.Check(t, os.MkdirAll(dir, 0o700))
			testkit.Check(t, os.WriteFile(c.Program, []byte("#!/bin/sh\n"), 0o755))
			files, err := units(filepath.Join(t.TempDir(), "units"), c)
			testkit.Check(t, err)
			args := []string{"--user", "--man=no", "verify"}
			for i := range files {
				testkit.Check(t, files[i].write())
				args = append(args, files[i].Path)
			}
			cmd := exec.Command("systemd-analyze", args...)
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil ||
				strings.Contains(string(out), filepath.Dir(files[0].Path)) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
