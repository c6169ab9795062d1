package uv

import (
	"os"
	"path/filepath"
	"slices"

	"runtimed/internal/tool"
)

// pythonNames has both: python.org's installer brings python.exe only.
var pythonNames = []string{"python", "python3"}

// usualPlaces is where python.org's installer puts Python for one user, perhaps without changing PATH.
var usualPlaces = func() []string {
	// the pattern is well formed
	found, _ := filepath.Glob(filepath.Join(tool.GlobEscape(os.Getenv("LOCALAPPDATA")), "Programs", "Python",
		"Python3*"))
	slices.Reverse(found)
	return found
}()

// pythonDirs are patterns of folders with interpreters. uv finds the others in the registry.
var pythonDirs []string

// pythonDirsAtHome are those of one user, below the home folder.
var pythonDirsAtHome = []string{`AppData\Local\Programs\Python\Python3*`, `.pyenv\pyenv-win\versions\*`}

func userConfigs(environ []string) []string {
	return []string{
		filepath.Join(tool.Lookup(environ, "APPDATA"), "uv", "uv.toml"),
		filepath.Join(tool.Lookup(environ, "PROGRAMDATA"), "uv", "uv.toml"),
	}
}

// readOnly is not: nobody could delete such a file, also in an environment.
const readOnly = 0o600

func UsualCache(environ []string) string {
	if local := tool.Lookup(environ, "LOCALAPPDATA"); filepath.IsAbs(local) {
		return filepath.Join(local, "uv", "cache")
	}
	return ""
}
