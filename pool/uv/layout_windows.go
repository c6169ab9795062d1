package uv

import (
	"os"
	"path/filepath"
	"slices"

	"runtimed/internal/tool"
)

// PythonNames has both: python.org's installer brings python.exe alone.
var PythonNames = []string{"python", "python3"}

// UsualPlaces is where python.org's installer puts Python for one user, who may not have let it change PATH.
var UsualPlaces = func() []string {
	found, _ := filepath.Glob(filepath.Join(tool.GlobEscape(os.Getenv("LOCALAPPDATA")), "Programs", "Python", "Python3*")) // well formed
	slices.Reverse(found)
	return found
}()

func UserConfigs(environ []string) []string {
	return []string{
		filepath.Join(tool.Lookup(environ, "APPDATA"), "uv", "uv.toml"),
		filepath.Join(tool.Lookup(environ, "PROGRAMDATA"), "uv", "uv.toml"),
	}
}

func UsualCache(environ []string) string {
	if local := tool.Lookup(environ, "LOCALAPPDATA"); filepath.IsAbs(local) {
		return filepath.Join(local, "uv", "cache")
	}
	return ""
}
