package main

import (
	"path/filepath"
	"runtime"
	"slices"

	"runtimed/internal/failure"
)

// specPlace says for whom kernelspecs are.
type specPlace struct {
	User      bool   `xor:"place" help:"For this user, where every Jupyter looks (the default)."`
	Prefix    string `xor:"place" placeholder:"DIR" type:"path" help:"For the Jupyter in DIR: in DIR/share/jupyter/kernels."`
	SysPrefix bool   `xor:"place" help:"For the Jupyter of the environment that is active in this shell."`
}

func (p *specPlace) named() bool { return p.User || p.Prefix != "" || p.SysPrefix }

// dir is the folder of kernels that is meant.
func (p *specPlace) dir(a *app) (string, error) {
	prefix := p.Prefix
	if p.SysPrefix {
		if prefix = activePrefix(a.Env); prefix == "" {
			return "", failure.With(failure.Usage, "no environment is active: neither VIRTUAL_ENV nor CONDA_PREFIX is set").
				WithHint("activate one, or name it with --prefix")
		}
	}
	if prefix != "" {
		return filepath.Join(prefix, "share", "jupyter", "kernels"), nil
	}
	data := jupyterData(runtime.GOOS, a.Env)
	if data == "" {
		return "", failure.New("HOME is not set, so there is no place for kernels").WithHint("set it, or name a place with --prefix")
	}
	dir, err := filepath.Abs(filepath.Join(data, "kernels"))
	return dir, err
}

func activePrefix(env func(string) string) string { return or(env("VIRTUAL_ENV"), env("CONDA_PREFIX")) }

// jupyterData is the user's data directory as jupyter_core works it out; empty where that needs a home and there is none.
func jupyterData(goos string, env func(string) string) string {
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
	return below(or(env("XDG_DATA_HOME"), below(home, ".local", "share")), "jupyter")
}

// kernelDirs are the folders in which Jupyter looks for kernels, as far as they can be told from here.
func kernelDirs(env func(string) string) []string {
	dirs := filepath.SplitList(env("JUPYTER_PATH"))
	dirs = append(dirs, jupyterData(runtime.GOOS, env))
	if prefix := activePrefix(env); prefix != "" {
		dirs = append(dirs, filepath.Join(prefix, "share", "jupyter"))
	}
	if runtime.GOOS == "windows" {
		if base := env("PROGRAMDATA"); base != "" {
			dirs = append(dirs, filepath.Join(base, "jupyter"))
		}
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
