package kernel

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/failure"
	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
)

// logos has a folder for each kind of pool, and one for notebooks' projects. testdata/tools/draw_logos.py makes the
// PNGs.
//
//go:embed logos
var logos embed.FS

const (
	specFile = "kernel.json"
	maxFile  = 1 << 20 // bytes of each
)

// logoFiles are named as Jupyter looks for them: JupyterLab the first, Notebook 7 the second.
var logoFiles = []string{"logo-svg.svg", "logo-64x64.png", "logo-32x32.png"}

var (
	// ValidName matches what Jupyter takes as the name of a kernel.
	ValidName = lazyregexp.New(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	// Placeholder matches what Jupyter replaces, wherever it is in the command.
	Placeholder = lazyregexp.New(`\{(connection_file|prefix|resource_dir)\}`)
)

// Spec is a kernelspec of ours.
type Spec struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	Pool        string `json:"pool"` // empty: that of the notebook's project
	Path        string `json:"path"` // of its folder
	Runt        string `json:"runt"`
	RuntExists  bool   `json:"runt_exists"`

	files map[string][]byte // by name; only kernel.json of one that was read
}

type specJSON struct {
	Argv          []string `json:"argv"`
	DisplayName   string   `json:"display_name"`
	Language      string   `json:"language"`
	InterruptMode string   `json:"interrupt_mode"`
	Metadata      struct {
		Debugger bool  `json:"debugger"`
		Runtimed *mark `json:"runtimed"`
	} `json:"metadata"`
}

// mark is in a kernelspec of ours. It has the name, because a copy under another name is somebody else's.
type mark struct {
	Pool string `json:"pool"`
	Name string `json:"name"`
}

// ProjectName is the usual name of the kernelspec for notebooks' projects.
const ProjectName = "runtimed-project"

// displayName is the name of a pool's kernel in front-ends, or of that for notebooks' projects if pool is empty. The
// tiles of JupyterLab have room for about 14 letters in a line.
func displayName(pool string) string {
	switch pool {
	case "":
		return "Python (project)"
	case "uv":
		return "Python (warm)"
	}
	return "Python (warm, " + pool + ")"
}

// NewSpec is for a pool of a kind, or for notebooks' projects if pool is empty, and in the folder path. Its command
// ends in --: what a front-end adds is for ipykernel.
func NewSpec(path, pool, kind, runt, onRestart string) Spec {
	k := specJSON{
		Argv:        []string{runt, "kernel", "-f", "{connection_file}"},
		DisplayName: displayName(pool), Language: "python", InterruptMode: "signal",
	}
	if pool == "" {
		kind = "project"
		k.Argv = append(k.Argv, "--project", "auto")
	} else {
		k.Argv = append(k.Argv, "--pool", pool)
	}
	if onRestart != "keep" {
		k.Argv = append(k.Argv, "--on-restart", onRestart)
	}
	k.Argv = append(k.Argv, "--")
	k.Metadata.Debugger = true
	k.Metadata.Runtimed = &mark{pool, filepath.Base(path)}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	_ = enc.Encode(k) // strings always encode
	files := map[string][]byte{specFile: b.Bytes()}
	for _, name := range logoFiles {
		data, err := logos.ReadFile("logos/" + kind + "/" + name)
		if err == nil { // a newer daemon may have other kinds
			files[name] = data
		}
	}
	return Spec{filepath.Base(path), k.DisplayName, pool, path, runt, true, files}
}

func readJSON(path string) (k specJSON, text []byte, err error) {
	text, err = safefile.Read(filepath.Join(path, specFile), maxFile)
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	return k, text, err
}

// ReadSpec reads the folder of a kernelspec. ours is false if it is somebody else's, or none.
func ReadSpec(path string) (s Spec, ours bool) {
	k, text, err := readJSON(path)
	name, m := filepath.Base(path), k.Metadata.Runtimed
	if err != nil || m == nil || !strings.EqualFold(m.Name, name) {
		return s, false
	}
	s = Spec{Name: name, DisplayName: k.DisplayName, Pool: m.Pool, Path: path, files: map[string][]byte{specFile: text}}
	if len(k.Argv) > 0 {
		s.Runt, s.RuntExists = k.Argv[0], safefile.Exists(k.Argv[0])
	}
	return s, true
}

// SpecsIn returns ours in a folder of kernels, by name.
func SpecsIn(dir string) []Spec {
	list := []Spec{}
	entries, _ := os.ReadDir(dir) // a folder that cannot be read has none for us
	for _, e := range entries {
		if s, ours := ReadSpec(filepath.Join(dir, e.Name())); ours {
			list = append(list, s)
		}
	}
	return list
}

// isPackaged reports whether pip has put the same kernel there, with the runt of its package.
func (s Spec) isPackaged() bool {
	var want specJSON
	has, _, err := readJSON(s.Path)
	return err == nil && json.Unmarshal(s.files[specFile], &want) == nil && len(has.Argv) > 0 &&
		strings.HasPrefix(has.Argv[0], "{resource_dir}") && slices.Equal(has.Argv[1:], want.Argv[1:])
}

// NotOurs is the error of a kernel that is somebody else's.
func NotOurs(path string) error {
	return failure.New("%s is a kernel that runt did not install", path).
		WithHint("choose another name with --name, or remove it with: jupyter kernelspec remove %s",
			filepath.Base(path))
}

// Install puts the kernelspec where it belongs, whole or not at all, and reports whether that changed anything.
func (s Spec) Install() (changed bool, err error) {
	_, missing := os.Lstat(s.Path) // before ReadSpec: another install may be under way
	_, ours := ReadSpec(s.Path)
	if missing == nil && !ours {
		if s.isPackaged() {
			return false, nil
		}
		return false, NotOurs(s.Path)
	}
	if s.isWritten() {
		return false, nil
	}
	return true, unwritable(s.write(ours))
}

func (s Spec) isWritten() bool {
	for name, data := range s.files {
		if has, err := safefile.Read(filepath.Join(s.Path, name), maxFile); err != nil || !bytes.Equal(has, data) {
			return false
		}
	}
	return true
}

func (s Spec) write(replace bool) error {
	dir := filepath.Dir(s.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if replace {
		dir = s.Path // which may be a link to another disk
	}
	tmp, err := os.MkdirTemp(dir, "~runtimed-") // not the name of a kernel
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	err = os.Chmod(tmp, 0o755)
	for name, data := range s.files {
		err = errors.Join(err, os.WriteFile(filepath.Join(tmp, name), data, 0o644))
	}
	if err != nil {
		return err
	}
	if !replace {
		err := safefile.Rename(tmp, s.Path)
		if _, ours := ReadSpec(s.Path); err != nil && ours { // another install was faster
			_, err = s.Install()
		}
		return err
	}
	for name := range s.files { // one by one: there is always a kernel
		if err := safefile.Rename(filepath.Join(tmp, name), filepath.Join(s.Path, name)); err != nil {
			return err
		}
	}
	return nil
}

// Remove leaves what somebody else put into the folder.
func (s Spec) Remove() error {
	if info, err := os.Lstat(s.Path); err == nil && !info.IsDir() { // a link, or a junction of Windows
		return unwritable(os.Remove(s.Path)) // another may list where it leads
	}
	left, _ := filepath.Glob(filepath.Join(s.Path, "~runtimed-*")) // by an install that was killed
	for _, dir := range append([]string{s.Path}, left...) {
		for _, name := range slices.Concat(logoFiles, []string{specFile}) { // the last says that the folder is ours
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return unwritable(err)
			}
		}
		if dir != s.Path {
			_ = os.Remove(dir)
		}
	}
	if others, err := os.ReadDir(s.Path); err != nil || len(others) > 0 {
		return unwritable(err)
	}
	return unwritable(os.Remove(s.Path))
}

func unwritable(err error) error {
	var f *failure.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return failure.New("%v", err).
		WithHint("the folder must be writable, and its disk not full; --prefix names another")
}
