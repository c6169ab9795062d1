//go:build e2e && unix

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

const peersTools = "../testdata/tools/peers"

// peers is a folder with the tests of jupyter_client, nbclient and ipykernel, made once and kept.
func peers(t *testing.T) string {
	t.Helper()
	if exec.Command("python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))").Run() != nil {
		lacking(t, "ipykernel's tests need Python 3.11 or later, with venv and pip")
	}
	sum := sha256.New()
	for _, name := range []string{"make.py", "requirements.txt"} {
		data, err := os.ReadFile(filepath.Join(peersTools, name))
		check(t, err)
		sum.Write(data)
	}
	dir := filepath.Join(testkit.KeptTools(t), "peers-"+hex.EncodeToString(sum.Sum(nil)[:4]))
	if done := filepath.Join(dir, "done"); !isThere(done) {
		check(t, os.RemoveAll(dir))
		if out, err := exec.Command("python3", filepath.Join(peersTools, "make.py"), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		check(t, os.WriteFile(done, nil, 0o644))
	}
	return dir
}

func TestPeersOwnSuitesPassWithAStandbyKernel(t *testing.T) {
	long := os.Getenv("RUNTIMED_SOAK") != ""
	packages := []string{"ipykernel", "ipywidgets"}
	if long {
		packages = append(packages, "matplotlib", "trio")
	} else {
		t.Parallel() // in the long mode too much depends on times
	}
	dir := peers(t)
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("%v: %v", err, wheels)
	}
	h := newHouse(t).withUV()
	// else Python sets LC_CTYPE for its children, and the first standbys cannot be used
	h.setenv("LC_ALL", "C.UTF-8")
	h.configure(fmt.Sprintf("[build]\nparallel = 2\n[pools.uv]\nsize = 3\nstandby = 3\npackages = [\"%s\"]\n",
		strings.Join(append(packages, "peer-kernels @ file://"+wheels[0]), `", "`)))
	h.start()
	h.filled("uv", 5*time.Minute)

	argv := func(flags ...string) string {
		line, err := json.Marshal(append(append([]string{runtProgram, "kernel", "--no-start"}, flags...),
			"-f", "{connection_file}", "--"))
		check(t, err)
		return string(line)
	}
	more := []string{"--standbys"}
	if long {
		more = append(more, "--all")
	}
	began := time.Now()
	line := append([]string{filepath.Join(peersTools, "compare.py"), dir, argv("--no-standby"), argv()}, more...)
	cmd := exec.Command("python3", line...)
	cmd.Env = append(h.env, "RUNTIMED_SOCKET="+h.socket)
	out, err := cmd.CombinedOutput()
	t.Logf("after %s:\n%s", time.Since(began).Round(time.Second), out)
	if err != nil {
		t.Errorf("%v; the pool's standbys: %+v", err, h.pool("uv").Standby)
	}
}
