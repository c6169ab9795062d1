package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// program is the daemon's executable.
type program struct {
	path string      // as it was started, links not resolved: an upgrade may turn a link to another file
	file fs.FileInfo // that runs; nil where it cannot be told
}

func thisProgram(arg0 string) program {
	running, err := os.Stat("/proc/self/exe") // the file itself, whatever became of its name
	path, perr := os.Executable()
	if perr != nil {
		path = arg0
	}
	if err != nil {
		running, _ = os.Stat(path)
	}
	found, _ := exec.LookPath(arg0)
	if named, err := os.Stat(found); err == nil && os.SameFile(named, running) {
		if abs, err := filepath.Abs(found); err == nil {
			path = abs
		}
	}
	return program{path, running}
}

// replaced says whether another file is at the program's path by now.
func (p program) replaced() bool {
	now, err := os.Stat(p.path)
	return err == nil && p.file != nil && !same(now, p.file)
}
