package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasOneVersion(t *testing.T) {
	if _, err := readVersion(".."); err != nil {
		t.Fatal(err)
	}
}

func TestAVersionThatDiffersIsRefused(t *testing.T) {
	root := t.TempDir()
	paths := append(slices.Collect(maps.Keys(versionLines("1.2.3"))), "clients/typescript/package.json")
	for _, path := range paths {
		text := must(os.ReadFile(filepath.Join("..", path)))(t)
		if strings.HasSuffix(path, "toml") {
			text = bytes.Replace(text, []byte(binName+"=="), []byte(binName+"==9"), 1)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readVersion(root); err == nil || !strings.Contains(err.Error(), "give them one version") {
		t.Error(err)
	}
}

func TestEveryPackageHoldsTheSamePrograms(t *testing.T) {
	text := string(must(os.ReadFile("../.goreleaser.yaml"))(t))
	flags := "flags: [" + strings.Join(buildArgs[:2], ", ") + "]"
	for _, line := range []string{flags, "ldflags: " + buildArgs[3], "env: [CGO_ENABLED=0]"} {
		if !strings.Contains(text, line) {
			t.Errorf(".goreleaser.yaml does not say %s", line)
		}
	}
	script := strings.ReplaceAll(string(must(os.ReadFile("linux.sh"))(t)), "\\\n", "")
	line := strings.Join(buildArgs[:3], " ") + ` "` + buildArgs[3] + `"`
	if !strings.Contains(strings.Join(strings.Fields(script), " "), "go build "+line) {
		t.Errorf("linux.sh does not say go build %s", line)
	}
	for _, p := range platforms {
		if !strings.Contains(text, "- "+p.os+"_"+p.arch+"\n") {
			t.Errorf(".goreleaser.yaml builds nothing for %s", p)
		}
	}
}

func TestTheClientsKnowThePackagesOfEveryPlatform(t *testing.T) {
	text := string(must(os.ReadFile("../clients/typescript/src/start.ts"))(t))
	known := regexp.MustCompile(`"(`+binName+`-\w+-\w+)"`).FindAllString(text, -1)
	var names []string
	for _, p := range platforms {
		names = append(names, `"`+p.npmName()+`"`)
	}
	slices.Sort(names)
	if !slices.Equal(known, names) {
		t.Errorf("start.ts knows %v, and there are %v", known, names)
	}
}

func TestAWheelHoldsBothProgramsAndTheKernels(t *testing.T) {
	for _, p := range platforms {
		data := must(makeWheel(p, standIn(t), standInPrograms(p)))(t)
		if again := must(makeWheel(p, standIn(t), standInPrograms(p)))(t); !bytes.Equal(data, again) {
			t.Errorf("%s: the same programs made two different wheels", p)
		}
		z := must(zip.NewReader(bytes.NewReader(data), int64(len(data))))(t)
		const prefix = "runtimed_bin-1.2.3.data/"
		for _, name := range p.programNames() {
			f := must(z.Open(prefix + "scripts/" + name))(t)
			if mode := must(f.Stat())(t).Mode(); mode != 0o755 {
				t.Errorf("%s: %s has the mode %v", p, name, mode)
			}
		}
		for name, of := range map[string][2]string{
			"uv":      {"--pool uv", "Python (warm)"},
			"conda":   {"--pool conda", "Python (warm, conda)"},
			"project": {"--project auto", "Python (project)"},
		} {
			dir := prefix + "data/share/jupyter/kernels/runtimed-" + name
			var spec struct {
				Argv        []string
				DisplayName string `json:"display_name"`
				Metadata    struct{ Debugger bool }
			}
			if err := json.NewDecoder(must(z.Open(dir + "/kernel.json"))(t)).Decode(&spec); err != nil {
				t.Fatal(err)
			}
			slashed := strings.ReplaceAll(spec.Argv[0], `\`, "/")
			folder := "/v/share/jupyter/kernels/runtimed-" + name
			runt := path.Clean(strings.Replace(slashed, "{resource_dir}", folder, 1))
			want := "/v/bin/runt"
			if p.os == "windows" {
				want = "/v/Scripts/runt.exe"
			}
			args := "kernel -f {connection_file} " + of[0] + " --"
			if runt != want || strings.Join(spec.Argv[1:], " ") != args || !spec.Metadata.Debugger {
				t.Errorf("%s: the kernel starts %s with %q", p, runt, spec.Argv)
			}
			if spec.DisplayName != of[1] {
				t.Errorf("%s: the kernel %s is shown as %s", p, name, spec.DisplayName)
			}
			for _, logo := range []string{"logo-svg.svg", "logo-64x64.png", "logo-32x32.png"} {
				want := must(os.ReadFile(filepath.Join("..", "kernel", "logos", name, logo)))(t)
				if data := must(io.ReadAll(must(z.Open(dir + "/" + logo))(t)))(t); !bytes.Equal(data, want) {
					t.Errorf("%s: the kernel %s has another %s", p, name, logo)
				}
			}
		}
	}
}

func TestTheNpmPackages(t *testing.T) {
	for _, p := range platforms {
		data := must(makePlatformTarball(p, standIn(t), standInPrograms(p)))(t)
		if again := must(makePlatformTarball(p, standIn(t), standInPrograms(p)))(t); !bytes.Equal(data, again) {
			t.Errorf("%s: the same programs made two different tarballs", p)
		}
		files, modes := untarred(t, data)
		var manifest struct {
			Name, Version string
			OS, CPU       []string
		}
		if err := json.Unmarshal(files["package/package.json"], &manifest); err != nil {
			t.Fatal(err)
		}
		name := manifest.Name + "@" + manifest.Version
		if name != p.npmName()+"@1.2.3" || manifest.OS[0] != p.npmOS || manifest.CPU[0] != p.npmArch {
			t.Errorf("%s: %s", p, files["package/package.json"])
		}
		for _, name := range p.programNames() {
			if modes["package/bin/"+name] != 0o755 {
				t.Errorf("%s: %s has the mode %o", p, name, modes["package/bin/"+name])
			}
		}
	}
}

func TestOnlyThePublishedClientNeedsThePrograms(t *testing.T) {
	developed := must(os.ReadFile("../clients/typescript/package.json"))(t)
	if bytes.Contains(developed, []byte("optionalDependencies")) {
		t.Error("npm ci cannot fetch optionalDependencies that nobody has published")
	}
	compiled := t.TempDir()
	if err := os.WriteFile(filepath.Join(compiled, "runt.js"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	files, modes := untarred(t, must(makeClientTarball("../clients/typescript", compiled, standIn(t)))(t))
	var manifest clientManifest
	if err := json.Unmarshal(files["package/package.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		if manifest.OptionalDependencies[p.npmName()] != "1.2.3" {
			t.Errorf("it does not need %s: %v", p.npmName(), manifest.OptionalDependencies)
		}
	}
	if modes["package/"+manifest.Bin["runt"]] != 0o755 || manifest.Scripts != nil || manifest.DevDependencies != nil {
		t.Errorf("%s\n%v", files["package/package.json"], modes)
	}
	before, _, _ := bytes.Cut(files["package/package.json"], []byte(`"default"`))
	if !bytes.Contains(before, []byte(`"types"`)) {
		t.Error("types must come first, or TypeScript does not see them")
	}
}

func standIn(t *testing.T) *common {
	c := &common{version: "1.2.3", readme: []byte("read me\n"), license: []byte("a licence\n")}
	c.notices, c.logos = []byte("others'\n"), must(readLogos(filepath.Join("..", "kernel", "logos")))(t)
	return c
}

func standInPrograms(p platform) []file {
	var programs []file
	for _, name := range p.programNames() {
		programs = append(programs, file{name, []byte(name + " for " + p.String()), true})
	}
	return programs
}

func untarred(t *testing.T, data []byte) (files map[string][]byte, modes map[string]int64) {
	files, modes = map[string][]byte{}, map[string]int64{}
	r := tar.NewReader(must(gzip.NewReader(bytes.NewReader(data)))(t))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name], modes[h.Name] = must(io.ReadAll(r))(t), h.Mode
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
