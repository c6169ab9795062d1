package testkit

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Kit is a folder of scripts that stand in for tools, and do what the files beside them say.
type Kit struct {
	*testing.T
	Bin       string   // the folder of the scripts, on PATH
	State     string   // a state directory
	Variables []string // an environment that finds them
}

// New makes a Kit with a uv, and a Python that this uv finds.
func New(t *testing.T, more ...string) *Kit {
	t.Helper()
	k := &Kit{T: t, Bin: t.TempDir(), State: t.TempDir()}
	k.Script("uv", "uv.sh")
	k.Script("python", "python.sh")
	python, err := json.Marshal(k.Program("python"))
	Check(t, err)
	k.Write("pythons", `[{"path":`+string(python)+
		`,"version":"3.13.1","implementation":"cpython","variant":"default"}]`)
	home := t.TempDir()
	k.Variables = slices.Concat([]string{"PATH=" + Path(k.Bin, usualPath), "HOME=" + home}, environ(home), more)
	return k
}

// WithoutUV leaves a Python that may fetch uv.
func (k *Kit) WithoutUV() {
	k.Helper()
	k.Remove("uv")
	k.Variables = append(k.Variables, "PATH="+Path(k.Bin, Toolbox(k.T)))
	k.Script("python3", "python.sh")
}

func (k *Kit) Script(name, from string) {
	k.Helper()
	k.script(name, from)
}

// Program is the path of a stand-in.
func (k *Kit) Program(name string) string { return filepath.Join(k.Bin, name) + Exe }

// Path is a list of folders, as PATH has it.
func Path(dirs ...string) string { return strings.Join(dirs, string(filepath.ListSeparator)) }

func (k *Kit) Write(name, text string) {
	k.Helper()
	if err := os.WriteFile(filepath.Join(k.Bin, name), []byte(text), 0o600); err != nil {
		k.Fatal(err)
	}
}

func (k *Kit) Remove(name string) {
	k.Helper()
	file := filepath.Join(k.Bin, name)
	if !exists(file) {
		file = k.Program(name)
	}
	if err := os.Remove(file); err != nil {
		k.Fatal(err)
	}
}

// Took reads and removes a file.
func (k *Kit) Took(name string) string {
	k.Helper()
	data, err := os.ReadFile(filepath.Join(k.Bin, name))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		k.Fatal(err)
	}
	k.Remove(name)
	return string(data)
}

// Calls returns the command lines of uv since the last time, with short paths.
func (k *Kit) Calls(dir string) string {
	k.Helper()
	short := strings.NewReplacer(dir, "ENV", k.State, "STATE", k.Bin, "BIN")
	var lines []string
	calls := short.Replace(k.Took("calls"))
	if Exe != "" { // told as on Unix
		calls = strings.NewReplacer(`\Scripts\`, "/bin/", `\`, "/", Exe, "").Replace(calls)
	}
	for line := range strings.Lines(calls) {
		words := strings.Fields(line)
		for i, w := range words {
			if strings.Contains(w, "/locks/.resolve-") {
				words[i] = path.Base(w)
			} else if strings.Contains(w, "/locks/") {
				words[i] = "LOCK"
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}
