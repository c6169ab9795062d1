package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// binName is the package with the programs: on PyPI as it is, on npm with the platform behind it. "runtimed" is another project's on PyPI,
// where even its version 0.1.0 exists, and the scope @runtimed of npm is not ours: a name that we do not hold would fetch a stranger's.
const binName = "runtimed-bin"

// platform is one that we build for, as Go, pip and npm name it.
type platform struct {
	os, arch       string
	tags           []string // of the wheel, sorted
	npmOS, npmArch string
}

// The programs are static, so that a Linux wheel needs neither glibc nor musl; the tags promise that to the installers of both. manylinux2014
// is the older spelling of manylinux_2_17, for older pips. Go 1.25 and 1.26 need macOS 12: the programs say so themselves, and checkProgram
// compares.
var platforms = []platform{
	{"linux", "amd64", []string{"manylinux2014_x86_64", "manylinux_2_17_x86_64", "musllinux_1_1_x86_64"}, "linux", "x64"},
	{"linux", "arm64", []string{"manylinux2014_aarch64", "manylinux_2_17_aarch64", "musllinux_1_1_aarch64"}, "linux", "arm64"},
	{"darwin", "amd64", []string{"macosx_12_0_x86_64"}, "darwin", "x64"},
	{"darwin", "arm64", []string{"macosx_12_0_arm64"}, "darwin", "arm64"},
	{"windows", "amd64", []string{"win_amd64"}, "win32", "x64"},
	{"windows", "arm64", []string{"win_arm64"}, "win32", "arm64"},
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
			return nil, fmt.Errorf("%q is none of the platforms that there are packages for: %v", name, platforms)
		}
		chosen = append(chosen, platforms[i])
	}
	return chosen, nil
}
