package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// program is the daemon's executable.
type program struct {
	path string      // as it was started, links not resolved: an upgrade may turn a link to another file
	file fs.FileInfo // that runs; nil where it cannot be told
}

func thisProgram(arg0 string) program {
	path, err := os.Executable()
	if err != nil {
		path = arg0
	}
	running := runningFile()
	if running == nil {
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

// runningFile is the file that runs, whatever became of its name, or nil. It is opened, since an emulator (qemu, Wine)
// is what a look at the link itself finds.
func runningFile() fs.FileInfo {
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	return info
}

// replaced says whether another file is at the program's path by now.
func (p program) replaced() bool {
	now, err := os.Stat(p.path)
	return err == nil && p.file != nil && !same(now, p.file)
}
