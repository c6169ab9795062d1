package service

import (
	"path/filepath"
	"runtime"
)

// HasUnit reports whether systemd has a unit of this user's for the daemon. It reads files only.
func HasUnit(env func(string) string) bool {
	m := &systemd{person{env: env}, "/"}
	unit := filepath.Join(m.dir(), serviceUnit)
	return runtime.GOOS == "linux" && filepath.IsAbs(unit) && (isFile(unit) || m.packaged() != "")
}

// Files returns the paths of all files that a manager reads for the daemon on this machine, also those of a package or
// of the user's own.
func Files(env func(string) string) (all []string) {
	var patterns []string
	switch runtime.GOOS {
	case "linux":
		for _, dir := range []string{unitDir(env), "/etc/systemd/user", "/usr/lib/systemd/user"} {
			for _, name := range []string{serviceUnit, serviceUnit + ".d/*.conf", socketUnit} {
				patterns = append(patterns, filepath.Join(dir, name))
			}
		}
	case "darwin":
		patterns = []string{filepath.Join(env("HOME"), "Library/LaunchAgents", label+".plist")}
	}
	for _, pattern := range patterns {
		if filepath.IsAbs(pattern) {
			found, _ := filepath.Glob(pattern)
			all = append(all, found...)
		}
	}
	return all
}
