package builder

import (
	"os"
	"path/filepath"
	"strings"
)

// setForService is how a service gets a variable.
const setForService = "with setx"

const SitesBelow = `Lib\site-packages`

func Scripts(dir string) string { return filepath.Join(dir, "Scripts") }

func VenvPython(dir string) string { return filepath.Join(dir, "Scripts", "python.exe") }

// ActivationPath is where the system keeps its own programs.
var ActivationPath = func() string {
	root := os.Getenv("SystemRoot")
	return strings.Join([]string{filepath.Join(root, "System32"), root, filepath.Join(root, "System32", "Wbem")}, ";")
}()
