package pool

import (
	"embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata
var standins embed.FS

// toolKit is a folder of scripts that stand in for tools, and do as the files beside them say.
type toolKit struct {
	*testing.T
	bin       string   // holds the scripts, is on PATH, and is where they look for what they shall do
	state     string   // a state directory
	variables []string // of an environment in which they are found
}

// newToolKit has a uv, and a Python that this uv finds.
func newToolKit(t *testing.T, environ ...string) *toolKit {
	t.Helper()
	k := &toolKit{T: t, bin: t.TempDir(), state: t.TempDir()}
	k.script("uv", "uv.sh")
	k.script("python", "python.sh")
	k.write("pythons", `[{"path":"`+filepath.Join(k.bin, "python")+`","version":"3.13.1","implementation":"cpython","variant":"default"}]`)
	k.variables = append([]string{"PATH=" + k.bin + ":/usr/bin:/bin", "HOME=" + t.TempDir()}, environ...)
	return k
}

// withoutUV has no uv, and a Python that may fetch it.
func (k *toolKit) withoutUV() {
	k.Helper()
	k.remove("uv")
	k.variables = append(k.variables, "PATH="+k.bin+":"+toolbox(k.T))
	k.script("python3", "python.sh")
}

func (k *toolKit) script(name, from string) {
	k.Helper()
	data, err := standins.ReadFile("testdata/" + from)
	if err != nil {
		k.Fatal(err)
	}
	writeProgram(k.T, filepath.Join(k.bin, name), data)
}

func (k *toolKit) write(name, text string) {
	k.Helper()
	if err := os.WriteFile(filepath.Join(k.bin, name), []byte(text), 0o600); err != nil {
		k.Fatal(err)
	}
}

func (k *toolKit) remove(name string) {
	k.Helper()
	if err := os.Remove(filepath.Join(k.bin, name)); err != nil {
		k.Fatal(err)
	}
}

// took returns what was written to a file, and removes it.
func (k *toolKit) took(name string) string {
	k.Helper()
	data, err := os.ReadFile(filepath.Join(k.bin, name))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		k.Fatal(err)
	}
	k.remove(name)
	return string(data)
}

// calls are the command lines of uv since the last time, with places written short.
func (k *toolKit) calls(dir string) string {
	k.Helper()
	short := strings.NewReplacer(dir, "ENV", k.state, "STATE", k.bin, "BIN")
	var lines []string
	for line := range strings.Lines(short.Replace(k.took("calls"))) {
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
