//go:build ignore

// Makes the deb and the rpm for this machine's architecture out of the builds and nfpms sections of .goreleaser.yaml, with the same library
// as goreleaser but without goreleaser itself, whose 326 modules take many minutes to compile. From the top of the checkout:
//
//	go run -modfile=release.mod packaging/pack.go DIR
//
// It reads the file as strictly as goreleaser does, and stops at a setting that it would not carry out.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pack DIR")
		os.Exit(2)
	}
	if err := pack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(dir string) error {
	project, err := config.Load(".goreleaser.yaml")
	if err != nil {
		return err
	}
	at, err := commitTime()
	if err != nil {
		return err
	}
	values := map[string]any{
		"Version":         cmp.Or(os.Getenv("VERSION"), "0.0.1-dev"),
		"CommitTimestamp": at.Unix(),
		"CommitDate":      at.Format(time.RFC3339),
	}
	for _, hook := range project.Before.Hooks {
		line, err := fill(hook, values)
		if err != nil {
			return err
		}
		if err := command(nil, strings.Fields(line)...); err != nil {
			return err
		}
	}
	bin, err := os.MkdirTemp("", "pack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	var programs []string
	for _, b := range project.Builds {
		program := filepath.Join(bin, b.Binary)
		if err := build(b, program, values); err != nil {
			return err
		}
		programs = append(programs, program)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, n := range project.NFPMs {
		for _, format := range n.Formats {
			if err := makePackage(n, format, programs, dir, values); err != nil {
				return fmt.Errorf("%s: %w", format, err)
			}
		}
	}
	return nil
}

// commitTime is now where there is no commit, as in an unpacked archive.
func commitTime() (time.Time, error) {
	out, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

func build(b config.Build, program string, values map[string]any) error {
	args := append([]string{"go", "build", "-o", program}, b.Flags...)
	for _, flags := range b.Ldflags {
		line, err := fill(flags, values)
		if err != nil {
			return err
		}
		args = append(args, "-ldflags", line)
	}
	env := append(b.Env, "GOOS=linux", "GOARCH="+runtime.GOARCH)
	args = append(args, b.Main)
	b.ID, b.Main, b.Binary, b.Flags, b.Ldflags, b.Env = "", "", "", nil, nil, nil
	b.Targets, b.ModTimestamp = nil, "" // neither counts here: packages have a time of their own
	if !reflect.DeepEqual(b, config.Build{}) {
		return errors.New("builds has a setting that pack does not know")
	}
	return command(env, args...)
}

func makePackage(n config.NFPM, format string, programs []string, dir string, values map[string]any) error {
	date, err := fill(n.MTime, values)
	if err != nil {
		return err
	}
	mtime, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return err
	}
	over := n.Overrides[format]
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: n.PackageName, Arch: runtime.GOARCH, Platform: "linux", Version: values["Version"].(string),
		Section: n.Section, Priority: n.Priority, Maintainer: n.Maintainer, Description: n.Description,
		Homepage: n.Homepage, License: n.License, MTime: mtime,
		Overridables: nfpm.Overridables{
			Recommends: n.Recommends,
			RPM:        nfpm.RPM{Summary: n.RPM.Summary, Group: n.RPM.Group, BuildHost: n.RPM.BuildHost},
		},
	})
	if over.Recommends != nil {
		info.Recommends = over.Recommends
	}
	if runtime.GOARCH == "amd64" {
		info.Deb.ArchVariant = "v1" // as goreleaser writes it
	}
	for _, c := range n.Contents {
		info.Contents = append(info.Contents, &files.Content{
			Source: c.Source, Destination: c.Destination, Packager: c.Packager, FileInfo: &files.ContentFileInfo{},
		})
	}
	for _, p := range programs {
		info.Contents = append(info.Contents, &files.Content{
			Source: p, Destination: "/usr/bin/" + filepath.Base(p), FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: mtime},
		})
	}
	if err := onlyKnown(n); err != nil {
		return err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := packager.Package(info, &text); err != nil {
		return err
	}
	path := filepath.Join(dir, packager.ConventionalFileName(info))
	fmt.Println(path)
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// onlyKnown blanks what makePackage carries out, and then nothing may be left.
func onlyKnown(n config.NFPM) error {
	for format, over := range n.Overrides {
		over.Recommends = nil
		if !reflect.DeepEqual(over, config.NFPMOverridables{}) {
			return fmt.Errorf("nfpms.overrides.%s has a setting that pack does not know", format)
		}
	}
	for _, c := range n.Contents {
		if strings.Contains(c.Source+c.Destination, "{{") || (config.NFPMContent{Source: c.Source, Destination: c.Destination, Packager: c.Packager}) != c {
			return fmt.Errorf("nfpms.contents: %s has a setting that pack does not know", c.Destination)
		}
	}
	n.Overrides, n.Contents, n.Formats, n.Recommends = nil, nil, nil, nil
	n.PackageName, n.FileNameTemplate, n.Section, n.Priority, n.Maintainer = "", "", "", "", ""
	n.Description, n.Homepage, n.License, n.MTime = "", "", "", ""
	n.RPM.Summary, n.RPM.Group, n.RPM.BuildHost = "", "", ""
	if !reflect.DeepEqual(n, config.NFPM{}) {
		return errors.New("nfpms has a setting that pack does not know")
	}
	return nil
}

func fill(text string, values map[string]any) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, values)
	return out.String(), err
}

func command(env []string, line ...string) error {
	c := exec.Command(line[0], line[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(line, " "), err)
	}
	return nil
}
