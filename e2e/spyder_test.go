//go:build e2e && unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a kernel must have so that Spyder's variable explorer and debugger work, as docs/frontends.md tells.
const (
	spyderVersion = "6.1.8"
	spyderPool    = `
[pools.spyder]
kind = "uv"
size = 2
packages = ["ipykernel", "pip", "spyder-kernels==3.1.*"]
preload = ["spyder_kernels.console.kernel"]
`
)

var spyderArgs = []string{"--pool", "spyder", "--",
	"--IPKernelApp.kernel_class=spyder_kernels.console.kernel.SpyderKernel",
	"--IPKernelApp.outstream_class=spyder_kernels.console.outstream.TTYOutStream",
	"--IPKernelApp.capture_fd_output=False"}

func TestSpyderFindsItsOwnKindOfKernelInAWarmEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	// else Python sets LC_CTYPE for its children, and the first standby cannot be used
	h.setenv("LC_ALL", "C.UTF-8")
	h.configure("[pools.uv]\nsize = 0\n" + spyderPool)
	h.start()
	h.kernelspec("spyder-warm", spyderArgs...)
	h.filled("spyder", 3*time.Minute)
	h.eventually(time.Minute, "a standby is ready", func() bool { return h.pool("spyder").Standby.Ready > 0 })
	j := h.jupyter()
	k := j.do("start", step{"kernel": "spyder-warm"})
	h.spyderLikes(j)
	if list := h.leases(); len(list) != 1 || list[0].Lease.OwnerPID == k.PID {
		t.Errorf("it is no standby: the front-end started process %d, and leased are %+v", k.PID, list)
	}
	if os.Getenv("RUNTIMED_SOAK") != "" {
		h.spyderConnects(t, k.File)
	}
	j.do("shutdown", nil)

	// Spyder starts its kernels so in an interpreter that its user has chosen.
	python := strings.TrimSpace(h.runt("pool", "acquire", "--pool", "spyder", "--owner-pid", fmt.Sprint(os.Getpid())))
	h.kernelJSON("interpreter", []string{python, "-m", "spyder_kernels.console", "-f", "{connection_file}"},
		map[string]any{})
	j.do("start", step{"kernel": "interpreter"})
	h.spyderLikes(j)
	j.do("shutdown", nil)
}

// spyderLikes sees what Spyder looks for in a kernel.
func (h *house) spyderLikes(j *jupyter) {
	h.t.Helper()
	var info struct {
		Spyder []string `json:"spyder_kernels_info"`
	}
	j.raw("info", nil, &info)
	if len(info.Spyder) != 2 || !strings.HasPrefix(info.Spyder[0], "3.1.") ||
		!strings.HasPrefix(info.Spyder[1], h.state("envs")) {
		h.t.Errorf("the kernel says of itself %+v", info)
	}
	j.cell("answer = 6 * 7")
	if said := j.cell("print(get_ipython().kernel.get_value('answer'))"); said != "42\n" {
		h.t.Errorf("the variable explorer would see %q", said)
	}
}

// spyderConnects has the real Spyder, which is a download of 250 MB, use the kernel of the connection file.
func (h *house) spyderConnects(t *testing.T, file string) {
	t.Helper()
	python, err := keptVenv("spyder-"+spyderVersion, "spyder=="+spyderVersion)
	check(t, err)
	if out, err := exec.Command(python, "-c", "import PyQt5.QtWebEngineWidgets").CombinedOutput(); err != nil {
		lacking(t, "Spyder's Qt lacks a library of the system: "+string(out[max(0, len(out)-200):]))
	}
	script, err := filepath.Abs(filepath.Join(frontEndTools, "connect_spyder.py"))
	check(t, err)
	spyder := exec.Command(python, script, file)
	spyder.Env, spyder.Dir = append(h.env, "XDG_RUNTIME_DIR="+h.state()), h.home
	var stderr bytes.Buffer
	spyder.Stderr = &stderr
	out, err := spyder.Output()
	var saw struct {
		Error, Said     string
		Spyder          bool
		Answer, Seconds float64
	}
	if err == nil {
		err = json.Unmarshal(out, &saw)
	}
	if err != nil || saw.Error != "" || !saw.Spyder || saw.Answer != 42 || !strings.Contains(saw.Said, "]: 2") {
		t.Errorf("Spyder: %v: %s%s", err, out, stderr.Bytes())
	}
	t.Logf("Spyder has an answer after %.2f s", saw.Seconds)
}
