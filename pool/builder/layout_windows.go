package builder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/tool"
)

const (
	Exe          = ".exe"
	HomeVariable = "USERPROFILE"
	SitesBelow   = `Lib\site-packages`
)

func Scripts(dir string) string { return filepath.Join(dir, "Scripts") }

func VenvPython(dir string) string { return filepath.Join(dir, "Scripts", "python.exe") }

func CondaPython(dir string) string { return filepath.Join(dir, "python.exe") }

// pythonNames has both: python.org's installer brings python.exe alone.
var PythonNames = []string{"python", "python3"}

// elsewhere is where python.org's installer puts Python for one user, who may not have let it change PATH.
var Elsewhere = func() []string {
	found, _ := filepath.Glob(filepath.Join(GlobEscape(os.Getenv("LOCALAPPDATA")), "Programs", "Python", "Python3*")) // well formed
	slices.Reverse(found)
	return found
}()

// condaElsewhere is where installers put conda's tools for everybody.
var CondaElsewhere = func() (dirs []string) {
	for _, name := range []string{"miniforge3", "miniconda3", "anaconda3"} {
		base := filepath.Join(os.Getenv("PROGRAMDATA"), name)
		dirs = append(dirs, filepath.Join(base, "Scripts"), filepath.Join(base, `Library\bin`))
	}
	return dirs
}()

// condaAtHome is where they put them for one user: conda.exe is in Scripts, mamba.exe in Library\bin.
var CondaAtHome = []string{
	`miniforge3\Scripts`, `miniforge3\Library\bin`, `AppData\Local\miniforge3\Scripts`, `AppData\Local\miniforge3\Library\bin`,
	`miniconda3\Scripts`, `AppData\Local\miniconda3\Scripts`, `anaconda3\Scripts`, `AppData\Local\anaconda3\Scripts`,
	`AppData\Local\micromamba`, `micromamba`, `.local\bin`,
}

func UVConfigs(environ []string) []string {
	return []string{
		filepath.Join(tool.Lookup(environ, "APPDATA"), "uv", "uv.toml"),
		filepath.Join(tool.Lookup(environ, "PROGRAMDATA"), "uv", "uv.toml"),
	}
}

func UVCache(environ []string) string {
	if local := tool.Lookup(environ, "LOCALAPPDATA"); filepath.IsAbs(local) {
		return filepath.Join(local, "uv", "cache")
	}
	return ""
}

// executable leaves out the stand-ins by which the system's store offers Python: they are no regular files.
func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// globEscape keeps a path from being taken for a pattern. A backslash escapes nothing here, and no name has a * or ?.
func GlobEscape(path string) string { return strings.ReplaceAll(path, "[", "[[]") }

// activationPath is where the system's own programs are.
var ActivationPath = func() string {
	root := os.Getenv("SystemRoot")
	return strings.Join([]string{filepath.Join(root, "System32"), root, filepath.Join(root, "System32", "Wbem")}, ";")
}()
