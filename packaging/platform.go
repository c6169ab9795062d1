package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// binName is the package with the programs: on PyPI as it is, on npm with the platform behind it. "runtimed" on PyPI is
// another project's, and the scope @runtimed on npm is not ours: either name would fetch a stranger's programs.
const binName = "runtimed-bin"

// platform is one that we build for, as Go, pip and npm name it.
type platform struct {
	os, arch       string
	tags           []string // of the wheel, sorted
	npmOS, npmArch string
}

// The programs are static, so a Linux wheel runs with glibc and with musl, as its tags say. manylinux2014 is how older
// pips spell manylinux_2_17. Go 1.25 and 1.26 need macOS 12: the programs say so, and checkProgram compares.
var platforms = []platform{
	{"linux", "amd64", linuxTags("x86_64"), "linux", "x64"},
	{"linux", "arm64", linuxTags("aarch64"), "linux", "arm64"},
	{"darwin", "amd64", []string{"macosx_12_0_x86_64"}, "darwin", "x64"},
	{"darwin", "arm64", []string{"macosx_12_0_arm64"}, "darwin", "arm64"},
	{"windows", "amd64", []string{"win_amd64"}, "win32", "x64"},
	{"windows", "arm64", []string{"win_arm64"}, "win32", "arm64"},
}

func linuxTags(arch string) []string {
	return []string{"manylinux2014_" + arch, "manylinux_2_17_" + arch, "musllinux_1_1_" + arch}
}

func (p platform) String() string { return p.os + "/" + p.arch }

func (p platform) npmName() string { return binName + "-" + p.npmOS + "-" + p.npmArch }

func (p platform) programNames() []string {
	if p.os == "windows" {
		return []string{"runt.exe", "runtimed.exe"}
	}
	return []string{"runt", "runtimed"}
}

// programs reads both, and refuses those of another platform.
func (p platform) programs(bin string) ([]file, error) {
	var found []file
	for _, name := range p.programNames() {
		path := filepath.Join(bin, name)
		if err := checkProgram(p, path); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found = append(found, file{name: name, data: data, program: true})
	}
	return found, nil
}

func choose(which string) ([]platform, error) {
	switch which {
	case "all":
		return platforms, nil
	case "host":
		which = runtime.GOOS + "/" + runtime.GOARCH
	}
	var chosen []platform
	for name := range strings.SplitSeq(which, ",") {
		i := slices.IndexFunc(platforms, func(p platform) bool { return p.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("there are no packages for %q; the platforms are %v", name, platforms)
		}
		chosen = append(chosen, platforms[i])
	}
	return chosen, nil
}
