//go:build unix

package uv

import (
	"path/filepath"

	"runtimed/internal/tool"
)

// pythonNames are interpreters that may fetch uv, in this order.
var pythonNames = []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9"}

// usualPlaces is where installers put uv and Python. A service manager's PATH does not have all of them.
var usualPlaces = []string{"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"}

// pythonDirs are patterns of folders with interpreters for all users.
var pythonDirs = append([]string{"/run/current-system/sw/bin", "/Library/Frameworks/Python.framework/Versions/*/bin"},
	usualPlaces...)

// pythonDirsAtHome are those of one user, below the home folder: of uv and pip, and of version managers.
var pythonDirsAtHome = []string{".local/bin", ".pyenv/versions/*/bin", ".asdf/installs/python/*/bin",
	".local/share/mise/installs/python/*/bin", ".nix-profile/bin"}

// userConfigs are the files that uv reads its settings from: the first that exists.
func userConfigs(environ []string) []string {
	config := filepath.Join(tool.Lookup(environ, "HOME"), ".config")
	if x := tool.Lookup(environ, "XDG_CONFIG_HOME"); filepath.IsAbs(x) {
		config = x
	}
	return []string{filepath.Join(config, "uv", "uv.toml"), "/etc/uv/uv.toml"}
}

// readOnly is the mode of files that are linked into environments and that nobody should write to.
const readOnly = 0o444

// UsualCache is uv's default cache; empty if it is not known.
func UsualCache(environ []string) string {
	if x := tool.Lookup(environ, "XDG_CACHE_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "uv")
	}
	if home := tool.Lookup(environ, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "uv")
	}
	return ""
}
