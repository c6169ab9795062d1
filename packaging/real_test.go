//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWhatEveryPackageHoldsIsThere(t *testing.T) {
	if _, err := readCommon("..", "1.2.3"); err != nil {
		t.Fatal(err)
	}
}

// A copy of the source that lies in a repository of somebody else's, with tags of its own, is built as its task builds
// it.
func TestTheProgramsOfACloneAndOfACopyHaveTheVersionOfThePackages(t *testing.T) {
	t.Parallel()
	want := must(readVersion(".."))(t)
	outer := t.TempDir()
	copied := filepath.Join(outer, "vendor", "runtimed")
	script := `set -e
		mkdir -p "$1"
		git -C .. ls-files -z | tar -C .. --null --ignore-failed-read -T - -cf - | tar -C "$1" -xf -
		cd "$2"
		git init -q
		git -c user.name=x -c user.email=x@example.invalid commit -q --allow-empty -m theirs
		git tag v9.9.9
		cd "$1"
		go run ./task build`
	if out, err := exec.Command("sh", "-c", script, "sh", copied, outer).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"runt", "runtimed"} {
		told := string(must(exec.Command(filepath.Join(copied, "bin", name), "--version").Output())(t))
		if strings.Fields(told)[1] != want || strings.Contains(told, "commit") {
			t.Errorf("the copy says %q, and the packages are %s", told, want)
		}
		program := filepath.Join(t.TempDir(), name)
		if err := command("..", nil, "go", "build", "-o", program, "./cmd/"+name); err != nil {
			t.Fatal(err)
		}
		told = string(must(exec.Command(program, "--version").Output())(t))
		if strings.Fields(told)[1] != want {
			t.Errorf("the clone says %q, and the packages are %s", told, want)
		}
	}
}

func TestAProgramOfAnotherPlatformIsRefused(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The others take a minute to compile for, where that was never done.
	built := must(choose("linux/" + runtime.GOARCH + ",darwin/arm64,windows/amd64"))(t)
	for _, p := range built {
		path := filepath.Join(t.TempDir(), "program")
		env := []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch}
		if err := command(filepath.Dir(source), env, "go", "build", "-o", path, source); err != nil {
			t.Fatal(err)
		}
		for _, other := range platforms {
			if err := checkProgram(other, path); (err == nil) != (other.String() == p.String()) {
				t.Errorf("a program for %s, as one for %s: %v", p, other, err)
			}
		}
	}
	if runtime.GOOS == "linux" {
		host := must(choose("host"))(t)[0]
		err := checkProgram(host, must(exec.LookPath("sh"))(t))
		if err == nil || !strings.Contains(err.Error(), "not static") {
			t.Errorf("a dynamic program: %v", err)
		}
	}
}

// The rules of tags are pip's: each of these machines must be given the one wheel that runs on it.
func TestPipTakesTheWheelOfItsPlatform(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if out, err := exec.Command("python3", "-m", "venv", filepath.Join(base, "v")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range platforms {
		data := must(makeWheel(p, standIn(t), standInPrograms(p)))(t)
		if err := write(base, wheelName(p, "1.2.3"), data); err != nil {
			t.Fatal(err)
		}
	}
	for tag, want := range map[string]string{
		"manylinux2014_x86_64":   "manylinux2014_x86_64",
		"manylinux_2_17_x86_64":  "manylinux2014_x86_64",
		"musllinux_1_1_x86_64":   "manylinux2014_x86_64",
		"manylinux_2_17_aarch64": "manylinux2014_aarch64",
		"musllinux_1_1_aarch64":  "manylinux2014_aarch64",
		"macosx_12_0_x86_64":     "macosx_12_0_x86_64",
		"macosx_15_0_arm64":      "macosx_12_0_arm64",
		"macosx_11_0_arm64":      "",
		"win_amd64":              "win_amd64",
		"win_arm64":              "win_arm64",
		"manylinux_2_17_i686":    "",
	} {
		got := filepath.Join(base, tag)
		cmd := exec.Command(filepath.Join(base, "v/bin/python"), "-m", "pip", "download", "--no-index",
			"--find-links", base, "--only-binary", ":all:", "--platform", tag, "--dest", got, binName)
		cmd.Env = append(os.Environ(), "PIP_FIND_LINKS=")
		out, err := cmd.CombinedOutput()
		if want == "" {
			if err == nil {
				t.Errorf("pip has a wheel for %s, on which it does not run: %s", tag, out)
			}
			continue
		}
		found, _ := filepath.Glob(filepath.Join(got, "*"+want+"*.whl"))
		if err != nil || len(found) != 1 {
			t.Errorf("pip found %v for %s: %v: %s", found, tag, err, out)
		}
	}
}
