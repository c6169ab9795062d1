//go:build unix

package builder

import (
	"os"
	"path/filepath"
	"regexp"

	"runtimed/internal/tool"
)

// How things are called and where they lie on this system; layout_windows.go has the same names.

const (
	Exe          = "" // what the names of programs end in
	HomeVariable = "HOME"
	SitesBelow   = "lib/python*/site-packages" // in an environment
)

// scripts is where an environment has its programs.
func Scripts(dir string) string { return filepath.Join(dir, "bin") }

func VenvPython(dir string) string { return filepath.Join(dir, "bin", "python") }

func CondaPython(dir string) string { return filepath.Join(dir, "bin", "python") }

// pythonNames are those of interpreters that may fetch uv: what python3 means first.
var PythonNames = []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9"}

// elsewhere is where installers put uv and Python; a service manager's PATH does not name all of them.
var Elsewhere = []string{"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"}

// condaElsewhere is where installers put these tools for everybody; a service manager's PATH names none of the first ones.
var CondaElsewhere = []string{
	"/opt/conda/bin", "/opt/conda/condabin", "/opt/miniforge3/bin", "/opt/miniconda3/bin", "/opt/anaconda3/bin",
	"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin",
	"/opt/homebrew/Caskroom/miniforge/base/bin", "/opt/homebrew/Caskroom/miniconda/base/bin", "/opt/homebrew/anaconda3/bin",
	"/usr/local/Caskroom/miniforge/base/bin", "/usr/local/Caskroom/miniconda/base/bin", "/usr/local/anaconda3/bin",
}

// condaAtHome is where they put them for one user.
var CondaAtHome = []string{
	"miniforge3/bin", "miniforge3/condabin", "mambaforge/bin", "mambaforge/condabin", "miniconda3/bin", "miniconda3/condabin",
	"anaconda3/bin", "anaconda3/condabin", "opt/miniconda3/bin", "opt/anaconda3/bin", "micromamba/bin", ".local/bin",
}

// uvConfigs are the files that uv reads its settings from, the first that is there.
func UVConfigs(environ []string) []string {
	config := filepath.Join(tool.Lookup(environ, "HOME"), ".config")
	if x := tool.Lookup(environ, "XDG_CONFIG_HOME"); filepath.IsAbs(x) {
		config = x
	}
	return []string{filepath.Join(config, "uv", "uv.toml"), "/etc/uv/uv.toml"}
}

// uvCache is where uv has its cache if it is not told; empty where that cannot be known.
func UVCache(environ []string) string {
	if x := tool.Lookup(environ, "XDG_CACHE_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "uv")
	}
	if home := tool.Lookup(environ, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "uv")
	}
	return ""
}

func Executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// globEscape keeps a path from being taken for a pattern.
func GlobEscape(path string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}

// activationPath is the PATH that packages' scripts see behind the environment's own.
const ActivationPath = "/usr/local/bin:/usr/bin:/bin"
