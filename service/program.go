package service

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/internal/safefile"
	"runtimed/internal/tool"
)

// Settle decides which program a service starts. found is the runtimed that this shell would start; candidates are
// other names of it, the best first. If none of them is in a place that lasts, runtimed and runt are copied to a
// folder of ours, and why says what is wrong with the place.
func Settle(found string, candidates []string, env func(string) string) (program string, copies []File, why string) {
	if real, err := filepath.EvalSymlinks(found); err == nil {
		found = real
	}
	for _, path := range append(slices.Clone(candidates), found) {
		if sameFile(path, found) && passing(path, env) == "" {
			return path, nil, ""
		}
	}
	why = passing(found, env)
	dir := copiesDir(env)
	for _, name := range programs {
		if from := filepath.Join(filepath.Dir(found), name); isFile(from) {
			copies = append(copies, File{Path: filepath.Join(dir, name), From: from, Mode: 0o755})
		}
	}
	return filepath.Join(dir, programs[0]), copies, why
}

var programs = []string{"runtimed" + tool.Exe, "runt" + tool.Exe}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func copiesDir(env func(string) string) string {
	home := env("HOME")
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(env("LOCALAPPDATA"), "Programs", "runt")
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "runt", "bin")
	}
	base := env("XDG_DATA_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "runt", "bin")
}

func removeCopies(env func(string) string) []Step {
	dir := copiesDir(env)
	var steps []Step
	for _, name := range programs {
		if path := filepath.Join(dir, name); isFile(path) {
			steps = append(steps, Step{Remove: path})
		}
	}
	if len(steps) > 0 {
		steps = append(steps, Step{Tidy: dir}, Step{Tidy: filepath.Dir(dir)})
	}
	return steps
}

// passing says why a program may be gone tomorrow, or be of another version; "" for a place that lasts.
func passing(path string, env func(string) string) string {
	dir := filepath.Dir(path)
	below := func(base, path string) bool {
		rel, err := filepath.Rel(base, path)
		return base != "" && err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
	}
	under := func(base string) bool { return below(base, dir) }
	home := env("HOME")
	if runtime.GOOS == "windows" {
		home = env("USERPROFILE")
	}
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm", "/run"} {
		if real, err := filepath.EvalSymlinks(base); err == nil {
			base = real
		}
		inHome := home != "" && under(home) && below(base, home) // the home itself is one for a while
		if under(base) && !inHome && !strings.HasPrefix(dir, "/run/current-system/") {
			return "a folder for temporary files"
		}
	}
	if home != "" && under(filepath.Join(home, "Downloads")) {
		return "the folder of downloads"
	}
	for _, base := range []string{"/media", "/mnt", "/Volumes"} {
		if under(base) {
			return "a disk that may not be there at login"
		}
	}
	parts := strings.Split(filepath.ToSlash(dir), "/")
	switch {
	case slices.Contains(parts, "Cellar"), slices.Contains(parts, "Caskroom"),
		strings.HasPrefix(dir, "/nix/store/"), strings.HasPrefix(dir, "/gnu/store/"):
		return "the folder of one version, which an upgrade removes"
	case slices.Contains(parts, "AppTranslocation"), strings.Contains(dir, "go-build"):
		return "a folder for temporary files"
	}
	for up := dir; up != home && len(up) > 1 && up != filepath.Dir(up); up = filepath.Dir(up) {
		if safefile.Exists(filepath.Join(up, ".git")) || safefile.Exists(filepath.Join(up, "go.mod")) {
			return "a folder of source code, where the next build replaces it"
		}
	}
	return ""
}
