//go:build e2e && unix

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/pool/conda"
	"runtimed/rpc"
)

// withoutNetwork has the default pool of conda, and a micromamba that cannot reach a channel.
func withoutNetwork(t *testing.T) *house {
	t.Helper()
	h := patient(t)
	h.setenv("RUNTIMED_CONDA_POOL_SIZE", "")
	tool := filepath.Join(h.home, "standin/micromamba")
	write(h, tool, "#!/bin/sh\n[ \"$1\" = --version ] && echo 2.0.0 && exit\n"+
		"echo 'error    libmamba Could not resolve host: conda.invalid' >&2\nexit 1\n")
	check(t, os.Chmod(tool, 0o755))
	return h
}

// runtDoctor is what runt doctor finds, with its exit code.
func (h *house) runtDoctor() (found map[string]rpc.Check, code int) {
	h.t.Helper()
	cmd := exec.Command(runtProgram, "doctor", "--json")
	cmd.Env, cmd.Dir = h.env, h.home
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		check(h.t, err)
	}
	return h.told(out, code), code
}

func TestWhatNobodyAskedForIsANoteAndWhatSomebodyConfiguredAProblem(t *testing.T) {
	t.Parallel()
	h := withoutNetwork(t)
	h.start()
	h.filled("uv", time.Minute)
	fails := func() bool { return h.pool("conda").Error != nil }
	h.eventually(time.Minute, "the pool of conda fails", fails)
	found, code := h.runtDoctor()
	h.diagnosed(found)
	if f := found["pools"]; code != 0 || f.Status != rpc.CheckNote ||
		!strings.Contains(f.Message, "conda: builds fail (network): ") || !strings.Contains(f.Hint, "size = 0") {
		t.Errorf("exit code %d: %+v", code, f)
	}
	if f := found["channels"]; f.Status != rpc.CheckSkipped ||
		f.Message != "conda-forge: not tested: the conda tool alone knows where it is" {
		t.Errorf("%+v", f)
	}

	h.configure(quickly + "1\n[pools.conda]\nmax_age = \"24h\"\n")
	h.runt("daemon", "reload")
	h.eventually(time.Minute, "it fails again", fails)
	found, code = h.runtDoctor()
	h.diagnosed(found, sick{"pools", rpc.CheckProblem, []string{"conda: builds fail (network): "}})
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestAChannelThatOnlyThePoolNobodyAskedForNeedsIsANote(t *testing.T) {
	t.Parallel()
	h := patient(t)
	h.setenv("RUNTIMED_CONDA_POOL_SIZE", "")
	h.setenv("NO_PROXY", "*")
	h.setenv("PATH", filepath.Join(h.home, "standin")+":/usr/bin:/bin") // without a conda tool
	python := h.state("tools", conda.VenvPrefix+conda.RattlerVersion(), "bin", "python")
	check(t, os.MkdirAll(filepath.Dir(python), 0o700))
	write(h, python, "#!/bin/sh\necho http://127.0.0.1:9/conda-forge\n")
	check(t, errors.Join(os.Chmod(python, 0o700), os.Chmod(filepath.Dir(h.state()), 0o700)))
	found, code := h.doctor()
	h.diagnosed(found)
	if f := found["channels"]; code != 0 || f.Status != rpc.CheckNote ||
		!strings.Contains(f.Message, "conda-forge cannot be reached: ") ||
		!strings.Contains(f.Hint, "check the network") || !strings.Contains(f.Hint, "size = 0") {
		t.Errorf("exit code %d: %+v", code, f)
	}

	h.configure(quickly + "1\n[pools.science]\nkind = \"conda\"\nsize = 1\n")
	found, _ = h.doctor()
	h.diagnosed(found, sick{"channels", rpc.CheckProblem, []string{"cannot be reached"}})
}
