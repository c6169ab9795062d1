package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"runtimed/internal/failure"
	"runtimed/service"
)

// Program is the runtimed beside this runt, else the one on PATH.
func Program() (string, error) {
	name := "runtimed"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
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

// namesOf are paths by which people know a program: beside runt as it was called, then on PATH. An upgrade changes what they lead to.
func (d *Control) namesOf(program string) []string {
	var paths []string
	if called, err := exec.LookPath(os.Args[0]); err == nil {
		if called, err = filepath.Abs(called); err == nil {
			paths = append(paths, filepath.Join(filepath.Dir(called), program))
		}
	}
	for _, dir := range filepath.SplitList(d.Env("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, program))
		}
	}
	return paths
}

// LastingRunt is the path by which front-ends start runt: a name that an upgrade turns to the next version where there is one. why says
// what is wrong with its place.
func (d *Control) LastingRunt() (path, why string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	program := "runt"
	if runtime.GOOS == "windows" {
		program = "runt.exe"
	}
	names := d.namesOf(program)
	path, _, why = service.Settle(self, names, d.Env)
	if why == "" {
		return path, "", nil
	}
	if called, err := exec.LookPath(os.Args[0]); err == nil { // Settle would copy it
		if called, err = filepath.Abs(called); err == nil {
			names = slices.Insert(names, 0, called)
		}
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
