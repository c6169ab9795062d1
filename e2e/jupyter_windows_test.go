//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// clientPython is a Python with a notebook front-end and pytest, made anew by each run of the tests.
var clientPython = sync.OnceValues(func() (string, error) {
	cache, err := kept()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "front-end")
	python := filepath.Join(dir, `Scripts\python.exe`)
	for _, argv := range [][]string{
		{"uv", "venv", "--quiet", "--clear", "--no-project", dir},
		{"uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r",
			`testdata\windows\requirements.txt`},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "UV_CACHE_DIR="+filepath.Join(cache, "uv"))
		if path := os.Getenv("SSL_CERT_FILE"); path != "" { // perhaps on the drive that we are on
			if path, err = filepath.Abs(path); err != nil {
				return "", err
			}
			cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+path)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	return python, nil
})

// withIndex has pip take the certificates that uv takes.
func (h *house) withIndex() *house {
	h.t.Helper()
	if path := os.Getenv("SSL_CERT_FILE"); path != "" {
		path, err := filepath.Abs(path)
		check(h.t, err)
		h.setenv("PIP_CERT", path)
	}
	return h
}

// jupyter starts a front-end, with the packages that folders have.
func (h *house) jupyter(folders ...string) *jupyter {
	h.t.Helper()
	python, err := clientPython()
	check(h.t, err)
	script, err := filepath.Abs(`..\testdata\tools\front_end.py`)
	check(h.t, err)
	j := &jupyter{house: h, cmd: exec.Command(python, append([]string{script}, folders...)...)}
	j.cmd.Env, j.cmd.Dir = append(h.env, "RUNTIMED_NO_START=1"), h.home
	var said bytes.Buffer // of the kernels too
	j.cmd.Stderr, j.cmd.WaitDelay = &said, time.Minute
	out, err := j.cmd.StdoutPipe()
	if err == nil {
		j.in, err = j.cmd.StdinPipe()
	}
	if err == nil {
		err = j.cmd.Start()
	}
	check(h.t, err)
	j.out = bufio.NewReader(out)
	h.t.Cleanup(func() {
		j.kill()
		if h.t.Failed() {
			h.t.Logf("the front-end and its kernels: %s", said.Bytes()[max(0, said.Len()-8000):])
		}
	})
	return j
}

// gone waits until a process has ended.
func (h *house) gone(pid int, within time.Duration) {
	h.t.Helper()
	h.eventually(within, fmt.Sprintf("process %d has ended", pid), func() bool { return !lives(pid) })
}
