package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// common is in every package.
type common struct {
	version string
	readme  []byte
	license []byte
	notices []byte            // the licences of what is linked in
	logos   map[string][]file // of the kernels, by the kernel's name
}

func readCommon(root, version string) (*common, error) {
	c := &common{version: version}
	var err error
	if c.readme, err = os.ReadFile(filepath.Join(root, "packaging", "README.bin.md")); err != nil {
		return nil, err
	}
	if c.license, err = os.ReadFile(filepath.Join(root, "LICENSE")); err != nil {
		return nil, err
	}
	if c.logos, err = readLogos(filepath.Join(root, "kernel", "logos")); err != nil {
		return nil, err
	}
	notices := exec.Command("sh", "packaging/notices.sh")
	notices.Dir, notices.Stderr = root, os.Stderr
	if c.notices, err = notices.Output(); err != nil {
		return nil, fmt.Errorf("packaging/notices.sh: %w", err)
	}
	return c, nil
}

func readLogos(dir string) (map[string][]file, error) {
	logos := map[string][]file{}
	for _, kernel := range kernels {
		entries, err := os.ReadDir(filepath.Join(dir, kernel))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(dir, kernel, e.Name()))
			if err != nil {
				return nil, err
			}
			logos[kernel] = append(logos[kernel], file{e.Name(), data, false})
		}
	}
	return logos, nil
}

const versionFile = "clients/typescript/package.json"

// readVersion returns the one version of clients and programs. It is written in several files, because each language's
// tools read their own. They must agree: a client asks for the programs of exactly its version. No tag and no commit
// counts: what is built from a copy without git has the same version.
func readVersion(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, versionFile))
	if err != nil {
		return "", err
	}
	var manifest struct{ Version string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", fmt.Errorf("%s: %w", versionFile, err)
	}
	version := manifest.Version
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
		return "", fmt.Errorf("%s: version %q is not X.Y.Z, which pip and npm write alike", versionFile, version)
	}
	for path, lines := range versionLines(version) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return "", err
		}
		for _, line := range lines {
			if !strings.Contains("\n"+string(text), "\n"+line+"\n") {
				const text = "%s has no line %s, and %s is of version %s: give them one version"
				return "", fmt.Errorf(text, path, line, versionFile, version)
			}
		}
	}
	return version, nil
}

// versionLines are the lines of other files that hold the version.
func versionLines(version string) map[string][]string {
	return map[string][]string{
		"rpc/version.go": {fmt.Sprintf("const version = %q", version)},
		"clients/jupyter/labextension/package.json":   {fmt.Sprintf(`  "version": %q,`, version)},
		"clients/jupyter/newmenu/package.json":        {fmt.Sprintf(`  "version": %q,`, version)},
		"clients/python/src/runtimed_client/_wire.py": {fmt.Sprintf("__version__ = %q", version)},
		"clients/python/pyproject.toml": {
			fmt.Sprintf(`bin = ["%s==%s"]`, binName, version),
			fmt.Sprintf(`jupyter = ["runtimed-jupyter==%s"]`, version),
		},
		"clients/jupyter/pyproject.toml": {
			fmt.Sprintf("version = %q", version),
			fmt.Sprintf(`    "runtimed-client==%s",`, version),
		},
	}
}

// buildArgs are the flags that .goreleaser.yaml and linux.sh have too.
var buildArgs = []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w"}

func build(root string, p platform, bin string) error {
	args := append([]string{"build", "-o", bin + string(filepath.Separator)}, buildArgs...)
	return command(root, []string{
		"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch,
		"GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", // whatever this machine is set to
	}, "go", append(args, "./cmd/runt", "./cmd/runtimed")...)
}

func command(dir string, env []string, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}
