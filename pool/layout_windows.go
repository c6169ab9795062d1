package pool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	exe          = ".exe"
	homeVariable = "USERPROFILE"
	sitesBelow   = `Lib\site-packages`
)

func scripts(dir string) string { return filepath.Join(dir, "Scripts") }

func venvPython(dir string) string { return filepath.Join(dir, "Scripts", "python.exe") }

func condaPython(dir string) string { return filepath.Join(dir, "python.exe") }

// pythonNames has both: python.org's installer brings python.exe alone.
var pythonNames = []string{"python", "python3"}

// elsewhere is where python.org's installer puts Python for one user, who may not have let it change PATH.
var elsewhere = func() []string {
	found, _ := filepath.Glob(filepath.Join(globEscape(os.Getenv("LOCALAPPDATA")), "Programs", "Python", "Python3*")) // well formed
	slices.Reverse(found)
	return found
}()

// condaElsewhere is where installers put conda's tools for everybody.
var condaElsewhere = func() (dirs []string) {
	for _, name := range []string{"miniforge3", "miniconda3", "anaconda3"} {
		base := filepath.Join(os.Getenv("PROGRAMDATA"), name)
		dirs = append(dirs, filepath.Join(base, "Scripts"), filepath.Join(base, `Library\bin`))
	}
	return dirs
}()

// condaAtHome is where they put them for one user: conda.exe is in Scripts, mamba.exe in Library\bin.
var condaAtHome = []string{
	`miniforge3\Scripts`, `miniforge3\Library\bin`, `AppData\Local\miniforge3\Scripts`, `AppData\Local\miniforge3\Library\bin`,
	`miniconda3\Scripts`, `AppData\Local\miniconda3\Scripts`, `anaconda3\Scripts`, `AppData\Local\anaconda3\Scripts`,
	`AppData\Local\micromamba`, `micromamba`, `.local\bin`,
}

func uvConfigs(environ []string) []string {
	return []string{
		filepath.Join(lookup(environ, "APPDATA"), "uv", "uv.toml"),
		filepath.Join(lookup(environ, "PROGRAMDATA"), "uv", "uv.toml"),
	}
}

func uvCache(environ []string) string {
	if local := lookup(environ, "LOCALAPPDATA"); filepath.IsAbs(local) {
		return filepath.Join(local, "uv", "cache")
	}
	return ""
}

// executable leaves out the stand-ins by which the system's store offers Python: they are no regular files.
func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// globEscape keeps a path from being taken for a pattern. A backslash escapes nothing here, and no name has a * or ?.
func globEscape(path string) string { return strings.ReplaceAll(path, "[", "[[]") }

// activationPath is where the system's own programs are.
var activationPath = func() string {
	root := os.Getenv("SystemRoot")
	return strings.Join([]string{filepath.Join(root, "System32"), root, filepath.Join(root, "System32", "Wbem")}, ";")
}()
