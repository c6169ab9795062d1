//go:build e2e && unix

package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

// vouch begins the hint.
const vouch = "hint: where the daemon is started (for a service in ~/.config/environment.d), set SSL_CERT_FILE to "

// distrustful has no uv, and an index that nobody here trusts.
func distrustful(t *testing.T) (*house, *testkit.Certified) {
	t.Helper()
	h, s := newHouse(t), testkit.ServeCertified(t, "authority", http.NotFoundHandler())
	h.withoutUV()
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable, end='')").Output()
	check(t, err)
	bin := t.TempDir()
	check(t, os.Symlink(string(out), filepath.Join(bin, "python3")))
	for name, value := range map[string]string{"PATH": bin + ":/usr/bin:/bin", "NO_PROXY": "*", "SSL_CERT_FILE": "",
		"PIP_CONFIG_FILE": os.DevNull, "RUNTIMED_CONDA_POOL_SIZE": "1"} {
		h.setenv(name, value)
	}
	h.configure("[uv]\nindex_url = \"" + s.URL + "/simple\"\n[build]\nmin_free = \"1MB\"\n")
	return h, s
}

func TestAnUntrustedCertificateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	h, s := distrustful(t)
	t.Cleanup(func() { h.runt("daemon", "stop") })
	run := func() string {
		t.Helper()
		began, said := time.Now(), &strings.Builder{}
		cmd := exec.Command(runtProgram, "run", "--", "python", "-c", "pass")
		cmd.Env, cmd.Dir, cmd.Stderr = h.env, h.home, said
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 6 {
			t.Fatalf("%v: %s", err, said)
		}
		t.Logf("told after %s", time.Since(began))
		return said.String()
	}
	for _, want := range []string{"the certificate of the package index is not trusted here",
		vouch} {
		if said := run(); !strings.Contains(said, want) {
			t.Errorf("it says %s", said)
		}
	}
	for _, pool := range []string{"uv", "conda"} {
		h.eventually(time.Minute, pool+" fails", func() bool { return h.pool(pool).Error != nil })
		if e := h.pool(pool).Error; e.Cause != builder.CauseCertificate || e.Failures != 1 ||
			e.NextRetryMS < 60_000-time.Since(e.Since).Milliseconds() {
			t.Errorf("%s: %+v", pool, e)
		}
	}
	if n := s.Handshakes.Load(); n > 2 { // one for each pool, if they do not look at the same time
		t.Errorf("the index was asked %d times", n)
	}
	before := s.Handshakes.Load()
	h.runt("pool", "flush")
	h.eventually(time.Minute, "a flush tries again", func() bool {
		return s.Handshakes.Load() > before && h.pool("uv").State == rpc.PoolFailing
	})
}

func TestTheFirstLineOfACellIsTheWayOutOfAnUntrustedCertificate(t *testing.T) {
	t.Parallel()
	h, _ := distrustful(t)
	h.kernelspec("warm", "--no-start")
	h.start()
	h.eventually(time.Minute, "the pool fails", func() bool { return h.pool("uv").Error != nil })
	j := h.jupyter()
	j.do("start", step{"kernel": "warm"})
	if r := j.do("run", step{"code": "1 + 1"}); r.Ename != "RuntimedError" ||
		!strings.HasPrefix(r.Said, vouch) ||
		!strings.Contains(r.Said, "the certificate of the package index is not trusted here") ||
		strings.Contains(r.Said, "CERTIFICATE_VERIFY_FAILED") {
		t.Errorf("it says %+v", r)
	}
	r := j.do("notebook", step{"kernel": "warm", "code": "1 + 1"})
	if !strings.Contains(r.Failed, "CERTIFICATE_VERIFY_FAILED") || !strings.Contains(r.Said, "<details><summary>") {
		t.Errorf("nbclient says %+v", r)
	}
}
