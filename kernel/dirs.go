package kernel

import (
	"cmp"
	"path/filepath"
	"runtime"
	"slices"
)

// ActivePrefix is the environment that is active in this shell.
func ActivePrefix(env func(string) string) string {
	return cmp.Or(env("VIRTUAL_ENV"), env("CONDA_PREFIX"))
}

// DataDir is the user's data directory as jupyter_core works it out; empty if that needs a home and there is none.
func DataDir(goos string, env func(string) string) string {
	if dir := env("JUPYTER_DATA_DIR"); dir != "" {
		return dir
	}
	home := env("HOME")
	if goos == "windows" {
		home = env("USERPROFILE")
	}
	below := func(base string, elem ...string) string {
		if base == "" {
			return ""
		}
		return filepath.Join(append([]string{base}, elem...)...)
	}
	platform := !slices.Contains([]string{"", "no", "n", "false", "off", "0", "0.0"}, env("JUPYTER_PLATFORM_DIRS"))
	switch {
	case goos == "darwin" && platform:
		return below(home, "Library", "Application Support", "jupyter")
	case goos == "darwin":
		return below(home, "Library", "Jupyter")
	case goos == "windows" && platform:
		return below(env("LOCALAPPDATA"), "jupyter")
	case goos == "windows" && env("APPDATA") != "":
		return below(env("APPDATA"), "jupyter")
	case goos == "windows":
		return below(home, ".jupyter", "data")
	}
	return below(cmp.Or(env("XDG_DATA_HOME"), below(home, ".local", "share")), "jupyter")
}

// Dirs are the folders in which Jupyter looks for kernels, as far as this shell can tell.
func Dirs(env func(string) string) []string {
	dirs := filepath.SplitList(env("JUPYTER_PATH"))
	dirs = append(dirs, DataDir(runtime.GOOS, env))
	if prefix := ActivePrefix(env); prefix != "" {
		dirs = append(dirs, filepath.Join(prefix, "share", "jupyter"))
	}
	if runtime.GOOS == "windows" {
		dirs = append(dirs, filepath.Join(env("PROGRAMDATA"), "jupyter"))
	} else {
		dirs = append(dirs, "/usr/local/share/jupyter", "/usr/share/jupyter")
	}
	var kernels []string
	for _, dir := range dirs {
		if dir = filepath.Join(dir, "kernels"); filepath.IsAbs(dir) && !slices.Contains(kernels, dir) {
			kernels = append(kernels, dir)
		}
	}
	return kernels
}
