//go:build e2e

package uv

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

// wheel writes a wheel with these files besides its records, and returns its hash.
func wheel(t *testing.T, dir, name, version string, files map[string]string) string {
	t.Helper()
	info := name + "-" + version + ".dist-info/"
	all := map[string]string{
		info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
	}
	record := info + "RECORD,,\n"
	for path, text := range files {
		all[path] = text
	}
	for path := range all {
		record += path + ",,\n"
	}
	all[info+"RECORD"] = record
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for path, text := range all {
		entry := &zip.FileHeader{Name: path, Method: zip.Deflate}
		entry.SetMode(0o755) // pip and uv have scripts as they are in there
		w, err := z.CreateHeader(entry)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		testkit.Check(t, err)
	}
	path := filepath.Join(dir, name+"-"+version+"-py3-none-any.whl")
	testkit.Check(t, errors.Join(z.Close(), os.MkdirAll(dir, 0o755), os.WriteFile(path, b.Bytes(), 0o644)))
	return fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
}

// TestPipsConfigurationSaysFromWhereAndNothingElse has a real pip install a uv of the test's own.
func TestPipsConfigurationSaysFromWhereAndNothingElse(t *testing.T) {
	wheels, home, theirs := t.TempDir(), t.TempDir(), t.TempDir()
	hash := wheel(t, wheels, "uv", "99.0", map[string]string{"uv-99.0.data/scripts/uv": "#!/bin/sh\necho uv 99.0\n"})
	pinned := uvRequirements
	uvRequirements = "uv==99.0 --hash=sha256:" + hash + "\n"
	t.Cleanup(func() { uvRequirements = pinned })
	config := `[global]
no-index = true
find-links =
    file:///nowhere
    ` + wheels + `
require-virtualenv = true
target = ` + theirs + `/target
python = /nowhere
constraint = /nowhere
log = ` + theirs + `/log
[install]
user = true
prefix = ` + theirs + `/prefix
root = ` + theirs + `/root
requirement = /nowhere
no-binary = :all:
platform = win_amd64
dry-run = true
ignore-installed = true
`
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(home, name)
		testkit.Check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o644)))
	}
	write(".config/pip/pip.conf", config)
	write("Library/Application Support/pip/pip.conf", config)
	write(".pydistutils.cfg", "[install]\nprefix = "+theirs+"/distutils\n")
	real, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output() // a shim looks into HOME
	if err != nil {
		t.Skip("there is no Python: ", err)
	}
	environ := []string{
		"HOME=" + home, "PATH=" + filepath.Dir(string(real)), "PIP_PREFIX=" + theirs,
		"PIP_REPORT=" + theirs + "/report", "PIP_ONLY_BINARY=:none:",
		"PIP_SRC=" + theirs, "PIP_CONSTRAINT=/nowhere", "PIP_NO_COMPILE=1",
	}
	u := New(t.TempDir(), Config{}, environ, zap.NewNop())
	u.Elsewhere = nil
	to := filepath.Join(u.Tools(), "uv-test")
	if err := u.fetch(t.Context(), "", Config{}, to); err != nil {
		t.Fatalf("%+v", err)
	}
	if !tool.Executable(ProgramBelow(to)) {
		t.Error("no uv was installed")
	}
	if entries, err := os.ReadDir(theirs); err != nil || len(entries) > 0 {
		t.Errorf("in the user's folder: %v, %v", entries, err)
	}
	// A configuration that pip cannot read is said, not passed over.
	write(".config/pip/pip.conf", "no section\n")
	write("Library/Application Support/pip/pip.conf", "no section\n")
	if _, _, err := u.pipEnv(t.Context(), "", Config{}, strings.TrimSpace(string(real))); err == nil {
		t.Error("a configuration without sections was read")
	}
}

// TestUVsConfigurationSaysFromWhereAndNothingElse needs a real uv.
func TestUVsConfigurationSaysFromWhereAndNothingElse(t *testing.T) {
	home, theirs := t.TempDir(), t.TempDir()
	config := filepath.Join(home, ".config", "uv")
	wheel(t, filepath.Join(config, "wheels"), "nothing", "1.0", map[string]string{"nothing.py": "x = 1\n"})
	text := `no-index = true
find-links = ["wheels"]
required-version = ">=999"
link-mode = "symlink"
offline = true
cache-dir = "` + theirs + `/cache"
[pip]
find-links = ["wheels"]
target = "` + theirs + `/target"
system = true
extra = ["x"]
no-emit-package = ["nothing"]
python-platform = "windows"
python-version = "3.9"
output-file = "` + theirs + `/lock"
generate-hashes = false
verify-hashes = false
`
	testkit.Check(t, os.WriteFile(filepath.Join(config, "uv.toml"), []byte(text), 0o600))
	path := os.Getenv("PATH") + ":" + filepath.Join(testkit.KeptTools(t), "uv", "bin")
	u := New(t.TempDir(), Config{},
		append(testkit.NetEnviron(), "HOME="+home, "PATH="+path, "UV_CACHE_DIR="+t.TempDir()), zap.NewNop())
	dir := filepath.Join(u.Dir, "envs", "x")
	b := &build{Builder: u, spec: wanting("nothing"), mark: dir, progress: func(builder.Stage) {}}
	testkit.Check(t, b.prepare(t.Context(), 0))
	testkit.Check(t, u.Venv(t.Context(), b.tool, dir, b.python, dir))
	testkit.Check(t, b.install(t.Context()))
	if list := allDistributions(dir); len(list) != 1 || list[0].Name != "nothing" {
		data, _ := os.ReadFile(b.path)
		t.Errorf("in the environment: %v, in the lock file:\n%s", list, data)
	}
	if entries, err := os.ReadDir(theirs); err != nil || len(entries) > 0 {
		t.Errorf("in the user's folder: %v, %v", entries, err)
	}
	if info, err := os.Stat(filepath.Join(u.Tools(), "uv.toml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// One that says nothing of it is uv's to read.
	testkit.Check(t, os.WriteFile(filepath.Join(config, "uv.toml"), []byte("no-index = true\n"), 0o600))
	if got := u.configFile(); got != filepath.Join(config, "uv.toml") || strings.Contains(got, u.Dir) {
		t.Errorf("%s", got)
	}
}
