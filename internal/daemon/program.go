package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"runtimed/internal/failure"
	"runtimed/internal/tool"
	"runtimed/service"
)

// Program is the runtimed beside this runt, else the one on PATH.
func Program() (string, error) {
	name := "runtimed" + tool.Exe
	if self, err := os.Executable(); err == nil {
		places := []string{filepath.Dir(self)}
		if real, err := filepath.EvalSymlinks(self); err == nil {
			places = append(places, filepath.Dir(real))
		}
		for _, dir := range places {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", failure.New("%s is neither beside runt nor on PATH", name).WithHint("install it beside runt")
	}
	return filepath.Abs(path)
}

// namesOf are paths by which people know a program: beside runt as it was called, then on PATH. They outlive an
// upgrade.
func (d *Control) namesOf(program string) []string {
	var paths []string
	if us := calledAs(); us != "" {
		paths = append(paths, filepath.Join(filepath.Dir(us), program))
	}
	for _, dir := range filepath.SplitList(d.Env("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, program))
		}
	}
	return paths
}

// LastingRunt is the path by which front-ends start runt. It outlives an upgrade if there is such a path; otherwise why
// says what is wrong with its place.
func (d *Control) LastingRunt() (path, why string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	names := d.namesOf("runt" + tool.Exe)
	path, _, why = service.Settle(self, names, d.Env)
	if why == "" {
		return path, "", nil
	}
	if us := calledAs(); us != "" {
		names = slices.Insert(names, 0, us)
	}
	mine, err := os.Stat(self)
	if err != nil {
		return "", "", err
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && os.SameFile(info, mine) {
			return name, why, nil
		}
	}
	return self, why, nil
}

// calledAs is the path by which runt was called; empty if it cannot be told.
func calledAs() string {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	return path
}
