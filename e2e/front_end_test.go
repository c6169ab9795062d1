//go:build e2e && unix

package e2e

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// frontEndPackages are what a notebook front-end without windows is made of.
var frontEndPackages = []string{"jupyter-client==8.10.0", "nbclient==0.11.0", "papermill==2.7.0"}

// frontEndPython is a Python with them.
var frontEndPython = sync.OnceValues(func() (string, error) {
	return keptVenv("front-end-8.10.0-0.11.0-2.7.0", frontEndPackages...)
})

// keptVenv is a Python with packages from the index, made once and kept. Programs in its bin do not start: it was made
// elsewhere.
func keptVenv(name string, packages ...string) (python string, err error) {
	bin, err := realUV()
	if err != nil {
		return "", err
	}
	uv := filepath.Join(bin, "uv")
	dir, err := keptDir(name, func(made string) error {
		for _, argv := range [][]string{
			{uv, "venv", "--quiet", "--clear", "--no-project", made},
			append([]string{uv, "pip", "install", "--quiet", "--python", filepath.Join(made, "bin", "python")},
				packages...),
		} {
			if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%v: %w: %s", argv, err, out)
			}
		}
		return nil
	})
	return filepath.Join(dir, "bin", "python"), err
}

// keptDir is a folder that outlives the tests, filled once. It is renamed when it is whole: others may do the same.
func keptDir(name string, fill func(made string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "runtimed-tests", name)
	if isThere(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := fill(made); err != nil {
		return "", err
	}
	if err := os.Rename(made, dir); err != nil && !isThere(dir) {
		return "", err
	}
	return dir, nil
}

// runt runs a command of runt in the house and returns what it prints.
func (h *house) runt(args ...string) string {
	h.t.Helper()
	cmd := exec.Command(runtProgram, args...)
	cmd.Env, cmd.Dir = append(h.env, "RUNTIMED_NO_START=1"), h.home
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("runt %v: %v: %s", args, err, err.(*exec.ExitError).Stderr)
	}
	return string(out)
}

func (h *house) jupyter() *jupyter {
	h.t.Helper()
	h.t.Cleanup(h.tellFrontEnds)
	return h.frontEndIn("RUNTIMED_NO_START=1")
}

// tellFrontEnds logs what they and their kernels said, where the test failed.
func (h *house) tellFrontEnds() {
	said, _ := os.ReadFile(filepath.Join(h.home, "front-end.log"))
	if h.t.Failed() {
		h.t.Logf("the front-ends and their kernels: %s", said[max(0, len(said)-8000):])
	}
}

// frontEndIn starts one with this variable, and with the packages that folders have.
func (h *house) frontEndIn(variable string, folders ...string) *jupyter {
	h.t.Helper()
	return h.frontEndBy(exec.Command, append(h.env, variable), folders...)
}

// frontEndBy starts one that command makes, with these variables.
func (h *house) frontEndBy(command func(name string, arg ...string) *exec.Cmd, env []string,
	folders ...string) *jupyter {
	h.t.Helper()
	python, err := frontEndPython()
	check(h.t, err)
	script, err := filepath.Abs("../testdata/tools/front_end.py")
	check(h.t, err)
	j := &jupyter{house: h, cmd: command(python, append([]string{script}, folders...)...)}
	tmp := filepath.Join(filepath.Dir(h.home), "t") // short, since sockets lie in it
	check(h.t, os.MkdirAll(tmp, 0o755))
	j.cmd.Env, j.cmd.Dir = append(env, "TMPDIR="+tmp), h.home
	stderr, err := os.OpenFile(filepath.Join(h.home, "front-end.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(h.t, err)
	j.cmd.Stderr = stderr
	out, err := j.cmd.StdoutPipe()
	if err == nil {
		j.in, err = j.cmd.StdinPipe()
	}
	if err == nil {
		err = j.cmd.Start()
	}
	_ = stderr.Close()
	check(h.t, err)
	j.out = bufio.NewReader(out)
	h.t.Cleanup(j.kill)
	return j
}

// wheel makes a pure package that pip can install without a network, and returns its path.
func (h *house) wheel(name string) string {
	h.t.Helper()
	return h.wheelWith(name, "answer = 42\n")
}

// wheelWith is wheel with a text for the package's only module.
func (h *house) wheelWith(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.home, name+"-1.0-py3-none-any.whl")
	f, err := os.Create(path)
	check(h.t, err)
	w := zip.NewWriter(f)
	info := name + "-1.0.dist-info/"
	for _, file := range [][2]string{
		{name + ".py", text},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		part, err := w.Create(file[0])
		if err == nil {
			_, err = io.WriteString(part, file[1])
		}
		check(h.t, err)
	}
	check(h.t, w.Close())
	check(h.t, f.Close())
	return path
}

// gone waits until a process has ended that is not ours to ask.
func (h *house) gone(pid int, within time.Duration) {
	h.t.Helper()
	h.eventually(within, fmt.Sprintf("process %d has ended", pid), func() bool {
		f := frontEnd{kernel: pid}
		return !f.lives()
	})
}
