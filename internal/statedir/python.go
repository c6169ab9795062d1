package statedir

import (
	"bytes"
	"encoding/json"
	"path/filepath"

	"runtimed/internal/safefile"
)

// Python is an interpreter that environments are made with.
type Python struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// PythonFile is where the daemon of the state directory dir keeps which Python it has chosen.
func PythonFile(dir string) string { return filepath.Join(dir, "tools", "python.json") }

const maxPython = 64 << 10 // bytes

// ChosenPython returns the Python that was chosen; false if none was, or the file is damaged.
func ChosenPython(dir string) (p Python, ok bool) {
	data, err := safefile.ReadOwn(PythonFile(dir), maxPython)
	if err != nil || json.Unmarshal(data, &p) != nil || !filepath.IsAbs(p.Path) {
		return Python{}, false
	}
	return p, true
}

// isPython reports whether the file at path is such a choice; by its name alone if usual.
func isPython(path string, usual bool) bool {
	return filepath.Base(path) == filepath.Base(PythonFile("")) && isFile(path) &&
		(usual || bytes.HasPrefix(headOf(path), []byte(`{"path":`)))
}
