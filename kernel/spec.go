package kernel

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/failure"
	"runtimed/internal/safefile"
)

//go:embed logo.svg
var kernelLogo []byte

const (
	kernelFile = "kernel.json"
	logoFile   = "logo-svg.svg"
)

// ValidName is what Jupyter takes for the name of a kernel.
var ValidName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// Spec is one of ours, as the commands show it.
type Spec struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	Pool        string `json:"pool"`
	Path        string `json:"path"`
	Runt        string `json:"runt"`
	RuntExists  bool   `json:"runt_exists"`

	text []byte // of kernel.json
}

// kernelJSON is the file that front-ends read.
type kernelJSON struct {
	Argv          []string `json:"argv"`
	DisplayName   string   `json:"display_name"`
	Language      string   `json:"language"`
	InterruptMode string   `json:"interrupt_mode"`
	Metadata      struct {
		Debugger bool        `json:"debugger"`
		Runtimed *kernelMark `json:"runtimed"`
	} `json:"metadata"`
}

// kernelMark is that of ours. It has the name, since a copy under another one is the work of whoever made it.
type kernelMark struct {
	Pool string `json:"pool"`
	Name string `json:"name"`
}

// Placeholder is what Jupyter puts something else for, wherever it is in the command.
var Placeholder = regexp.MustCompile(`\{(connection_file|prefix|resource_dir)\}`)

// NewSpec is the one for a pool in the folder path. What a front-end adds to its command is for ipykernel, so it ends in --.
func NewSpec(path, pool, runt, onRestart string) Spec {
	k := kernelJSON{
		Argv:        []string{runt, "kernel", "-f", "{connection_file}", "--pool", pool},
		DisplayName: "Python (warm " + pool + ")", Language: "python", InterruptMode: "signal",
	}
	if onRestart != "keep" {
		k.Argv = append(k.Argv, "--on-restart", onRestart)
	}
	k.Argv = append(k.Argv, "--")
	k.Metadata.Debugger = true
	k.Metadata.Runtimed = &kernelMark{pool, filepath.Base(path)}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(k); err != nil {
		panic(err) // strings always encode
	}
	return Spec{filepath.Base(path), k.DisplayName, pool, path, runt, true, b.Bytes()}
}

const maxKernelspec = 1 << 20 // bytes of each file

// ReadSpec reads the folder of a kernelspec; ours is false where it is somebody else's, or none.
func ReadSpec(path string) (s Spec, ours bool) {
	text, err := safefile.Read(filepath.Join(path, kernelFile), maxKernelspec)
	var k kernelJSON
	if err != nil || json.Unmarshal(text, &k) != nil || k.Metadata.Runtimed == nil || !strings.EqualFold(k.Metadata.Runtimed.Name, filepath.Base(path)) {
		return s, false
	}
	s = Spec{Name: filepath.Base(path), DisplayName: k.DisplayName, Pool: k.Metadata.Runtimed.Pool, Path: path, text: text}
	if len(k.Argv) > 0 {
		s.Runt = k.Argv[0]
		s.RuntExists = safefile.Exists(s.Runt)
	}
	return s, true
}

// SpecsIn are ours in a folder of kernels, by name.
func SpecsIn(dir string) []Spec {
	list := []Spec{}
	entries, _ := os.ReadDir(dir) // what cannot be read has none for us
	for _, e := range entries {
		if s, ours := ReadSpec(filepath.Join(dir, e.Name())); ours {
			list = append(list, s)
		}
	}
	return list
}

// packaged says whether pip has put the same kernel there, with the runt of its package.
func (s Spec) packaged() bool {
	var want, has kernelJSON
	text, err := safefile.Read(filepath.Join(s.Path, kernelFile), maxKernelspec)
	if err != nil || json.Unmarshal(text, &has) != nil || json.Unmarshal(s.text, &want) != nil || len(has.Argv) == 0 {
		return false
	}
	return strings.HasPrefix(has.Argv[0], "{resource_dir}") && slices.Equal(has.Argv[1:], want.Argv[1:])
}

func NotOurs(path string) error {
	return failure.New("%s is a kernel that runt did not install", path).
		WithHint("leave it, and choose another name with --name; or take it away with: jupyter kernelspec remove %s", filepath.Base(path))
}

// Install puts the kernelspec where it belongs, whole or not at all, and says whether that changed anything.
func (s Spec) Install() (changed bool, err error) {
	_, missing := os.Lstat(s.Path) // before the other, since another install may be at it
	had, ours := ReadSpec(s.Path)
	if missing == nil && !ours {
		if s.packaged() {
			return false, nil
		}
		return false, NotOurs(s.Path)
	}
	if logo, err := safefile.Read(filepath.Join(s.Path, logoFile), maxKernelspec); err == nil && bytes.Equal(had.text, s.text) && bytes.Equal(logo, kernelLogo) {
		return false, nil
	}
	dir := filepath.Dir(s.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, unwritable(err)
	}
	if ours {
		dir = s.Path // it may be a link to another disk, as may be the folder of kernels
	}
	made, err := os.MkdirTemp(dir, "~runtimed-") // no name of a kernel, so that nobody takes it for one
	if err != nil {
		return false, unwritable(err)
	}
	defer os.RemoveAll(made)
	err = errors.Join(os.Chmod(made, 0o755), os.WriteFile(filepath.Join(made, logoFile), kernelLogo, 0o644),
		os.WriteFile(filepath.Join(made, kernelFile), s.text, 0o644))
	if err != nil {
		return false, unwritable(err)
	}
	if !ours {
		err = os.Rename(made, s.Path)
		if _, ours := ReadSpec(s.Path); err != nil && ours { // another install was faster
			return s.Install()
		}
		return err == nil, unwritable(err)
	}
	for _, name := range []string{logoFile, kernelFile} { // one by one: at no moment is there none
		if err := os.Rename(filepath.Join(made, name), filepath.Join(s.Path, name)); err != nil {
			return false, unwritable(err)
		}
	}
	return true, nil
}

func (s Spec) Remove() error {
	if info, err := os.Lstat(s.Path); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return unwritable(os.Remove(s.Path)) // where it leads may be on another's list
	}
	if err := os.Remove(filepath.Join(s.Path, kernelFile)); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is a kernel no more
		return unwritable(err)
	}
	if err := os.Remove(filepath.Join(s.Path, logoFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritable(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.Path, "~runtimed-*")) // of an install that was killed
	for _, made := range left {
		for _, name := range []string{kernelFile, logoFile} {
			_ = os.Remove(filepath.Join(made, name))
		}
		_ = os.Remove(made)
	}
	if left, err := os.ReadDir(s.Path); err != nil || len(left) > 0 {
		return unwritable(err) // what somebody else put there stays
	}
	return unwritable(os.Remove(s.Path))
}

func unwritable(err error) error {
	if err == nil {
		return nil
	}
	return failure.New("%v", err).WithHint("the place must be writable for you, and its disk not full; --prefix names another")
}
