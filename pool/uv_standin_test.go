package pool

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// standin is a UV whose uv and Python are scripts that do as the files beside them say.
type standin struct {
	*testing.T
	*UV
	bin   string // holds the scripts, is on PATH, and is where they look for what they shall do
	state string
}

func newStandin(t *testing.T, environ ...string) *standin {
	t.Helper()
	s := &standin{T: t, bin: t.TempDir(), state: t.TempDir()}
	s.script("uv", "testdata/uv.sh")
	s.script("python", "testdata/python.sh")
	s.write("pythons", `[{"path":"`+filepath.Join(s.bin, "python")+`","version":"3.13.1","implementation":"cpython","variant":"default"}]`)
	environ = append([]string{"PATH=" + s.bin + ":/usr/bin:/bin", "HOME=" + t.TempDir()}, environ...)
	s.UV = NewUV(s.state, UVConfig{}, environ, nop)
	s.elsewhere = nil
	return s
}

func (s *standin) script(name, from string) {
	s.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		s.Fatal(err)
	}
	writeProgram(s.T, filepath.Join(s.bin, name), data)
}

// writeProgram writes what is then run. No child may be started meanwhile: it would hold the file open for writing.
func writeProgram(t *testing.T, path string, data []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
}

func (s *standin) write(name, text string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.bin, name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *standin) remove(name string) {
	s.Helper()
	if err := os.Remove(filepath.Join(s.bin, name)); err != nil {
		s.Fatal(err)
	}
}

// took returns what was written to a file, and removes it.
func (s *standin) took(name string) string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.bin, name))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		s.Fatal(err)
	}
	s.remove(name)
	return string(data)
}

// calls are the command lines of uv since the last time, with places written short.
func (s *standin) calls(dir string) string {
	s.Helper()
	short := strings.NewReplacer(dir, "ENV", s.state, "STATE", s.bin, "BIN")
	var lines []string
	for line := range strings.Lines(short.Replace(s.took("calls"))) {
		words := strings.Fields(line)
		for i, w := range words {
			if strings.Contains(w, "/locks/.resolve-") {
				words[i] = filepath.Base(w)
			} else if strings.Contains(w, "/locks/") {
				words[i] = "LOCK"
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

// build builds one environment and returns where.
func (s *standin) build(spec Spec) (dir string, built Built, err error) {
	s.Helper()
	dir = filepath.Join(s.state, "envs", "uv-"+strings.ReplaceAll(filepath.Base(s.TempDir()), "/", ""))
	built, err = s.Build(s.Context(), spec, dir, func(Stage) {})
	return dir, built, err
}
