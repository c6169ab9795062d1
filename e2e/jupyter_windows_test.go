//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
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

// provisioner makes our provisioner known to front-ends with these folders, and a kernel of this name that it starts.
func (h *house) provisioner(name string) (folders []string) {
	h.t.Helper()
	info := filepath.Join(h.home, "packages", "runtimed_jupyter-0.1.0.dist-info")
	spec := filepath.Join(h.home, `AppData\Roaming\jupyter\kernels`, name)
	check(h.t, errors.Join(os.MkdirAll(info, 0o700), os.MkdirAll(spec, 0o700)))
	for path, text := range map[string]string{
		filepath.Join(info, "METADATA"): "Metadata-Version: 2.1\nName: runtimed-jupyter\nVersion: 0.1.0\n",
		filepath.Join(info, "entry_points.txt"): "[jupyter_client.kernel_provisioners]\n" +
			"runtimed = runtimed_jupyter:RuntimedProvisioner\n",
		filepath.Join(spec, "kernel.json"): `{"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
			"display_name": "provisioned", "language": "python",
			"metadata": {"kernel_provisioner": {"provisioner_name": "runtimed"}}}`,
	} {
		check(h.t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, folder := range []string{`..\clients\python\src`, `..\clients\jupyter\src`} {
		folder, err := filepath.Abs(folder)
		check(h.t, err)
		folders = append(folders, folder)
	}
	return append(folders, filepath.Dir(info))
}

// gone waits until a process has ended.
func (h *house) gone(pid int, within time.Duration) {
	h.t.Helper()
	h.eventually(within, fmt.Sprintf("process %d has ended", pid), func() bool { return !lives(pid) })
}
