//go:build e2e

package uv

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/project"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// trusting is the environment of a test in which only file says whom to trust, if it is not empty.
func trusting(t *testing.T, file string) []string {
	env := slices.DeleteFunc(testkit.NetEnviron(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "SSL_CERT_") || strings.HasSuffix(name, "_CA_BUNDLE") ||
			strings.HasPrefix(name, "PIP_") || strings.HasPrefix(name, "UV_")
	})
	env = append(env, "HOME="+t.TempDir(), "UV_CACHE_DIR="+t.TempDir(), "PIP_CONFIG_FILE="+os.DevNull,
		"PATH="+os.Getenv("PATH")+":"+filepath.Join(testkit.KeptTools(t), "uv", "bin"))
	if file != "" {
		env = append(env, "SSL_CERT_FILE="+file)
	}
	return env
}

// oneWheel is a package index with one package, nothing.
func oneWheel(t *testing.T) http.Handler {
	dir := t.TempDir()
	hash := wheel(t, dir, "nothing", "1.0", map[string]string{"nothing.py": "x = 1\n"})
	page := filepath.Join(dir, "simple", "nothing", "index.html")
	const name = "nothing-1.0-py3-none-any.whl"
	testkit.Check(t, errors.Join(os.MkdirAll(filepath.Dir(page), 0o755), os.WriteFile(page,
		[]byte(`<a href="/`+name+`#sha256=`+hash+`">`+name+`</a>`), 0o644)))
	return http.FileServer(http.Dir(dir))
}

// TestTheCertificatesOfAnIndexAreToldApart has a real uv and pip ask servers that they do not trust.
func TestTheCertificatesOfAnIndexAreToldApart(t *testing.T) {
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable, end='')").Output()
	testkit.Check(t, err)
	index := oneWheel(t)
	base := wanting("nothing")
	ways := map[string]func(t *testing.T, u *Builder, url string) error{
		"a pool": func(t *testing.T, u *Builder, url string) error {
			u.Configure(Config{IndexURL: url})
			_, err := u.Build(t.Context(), base, filepath.Join(u.Dir, "envs", "x"), func(builder.Stage) {})
			return err
		},
		"needs": func(t *testing.T, u *Builder, url string) error {
			u.Configure(Config{IndexURL: url})
			_, err := u.Prepare(t.Context(), more(wanting(), "nothing"), u.Tools(), 0, func(builder.Stage) {})
			return err
		},
		"a project": func(t *testing.T, u *Builder, url string) error {
			dir := t.TempDir()
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte(`[project]
name = "p"
version = "1"
dependencies = ["nothing"]
[[tool.uv.index]]
url = "`+url+`"
default = true
`), 0o600))
			p, err := project.Find(project.Request{Path: dir})
			testkit.Check(t, err)
			spec := builder.Spec{Kind: builder.KindUV, Project: p, Base: &base}
			_, err = u.Build(t.Context(), spec, filepath.Join(u.Dir, "envs", "x"), func(builder.Stage) {})
			return err
		},
		"uv itself": func(t *testing.T, u *Builder, url string) error {
			u.Environ = append(u.Environ, "PATH="+filepath.Dir(string(python)))
			return u.fetch(t.Context(), "", Config{IndexURL: url}, filepath.Join(u.Tools(), "uv-test"))
		},
	}
	for kind, c := range testkit.CertificateErrors {
		for way, ask := range ways {
			if way == "uv itself" && (kind == "self-signed" || kind == "not yet valid") {
				continue // a venv takes seconds
			}
			t.Run(kind+", "+way, func(t *testing.T) {
				t.Parallel()
				s := testkit.ServeCertified(t, kind, index)
				file := s.CA
				if c.Say == testkit.Untrusted {
					file = ""
				}
				u := New(t.TempDir(), Config{}, trusting(t, file), zap.NewNop())
				u.Elsewhere = nil
				err := ask(t, u, s.URL+"/simple")
				var b *builder.Error
				if !errors.As(err, &b) || b.Cause != builder.CauseCertificate || !strings.Contains(b.Message, c.Say) ||
					!strings.Contains(b.Hint, c.Hint) {
					t.Errorf("%#v", b)
				}
				if n := s.Handshakes.Load(); n != 1 {
					t.Errorf("it was asked %d times", n)
				}
			})
		}
	}
}

func TestANetworkThatFailsIsTriedAgainByPipAndTold(t *testing.T) {
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable, end='')").Output()
	testkit.Check(t, err)
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0) // which resets the connection
			_ = c.Close()
		}
	}))
	defer s.Close()
	u := New(t.TempDir(), Config{}, append(trusting(t, ""), "PATH="+filepath.Dir(string(python)), "PIP_RETRIES=1"),
		zap.NewNop())
	u.Elsewhere = nil
	err = u.fetch(t.Context(), "", Config{IndexURL: s.URL + "/simple"}, filepath.Join(u.Tools(), "uv-test"))
	var b *builder.Error
	if n := asked.Load(); !errors.As(err, &b) || !strings.HasSuffix(b.Message, "the package index cannot be reached") ||
		n < 2 {
		t.Errorf("asked %d times: %#v", n, b)
	}
}

func TestUVFetchesAPythonOnlyFromWhomItTrusts(t *testing.T) {
	s := testkit.ServeCertified(t, "authority", http.NotFoundHandler())
	u := New(t.TempDir(), Config{}, append(trusting(t, ""), "UV_PYTHON_INSTALL_MIRROR="+s.URL,
		"UV_PYTHON_INSTALL_DIR="+t.TempDir()), zap.NewNop())
	uv, err := u.Find(t.Context(), u.Tools(), func(builder.Stage) {})
	testkit.Check(t, err)
	_, err = u.Interpreter(t.Context(), uv, u.Tools(), "3.14.0", func(builder.Stage) {})
	var b *builder.Error
	if !errors.As(err, &b) || b.Cause != builder.CauseCertificate || !strings.Contains(b.Hint, "set SSL_CERT_FILE") ||
		!strings.HasSuffix(b.Message, ": the certificate of the server that has it is not trusted here") ||
		!strings.Contains(b.Hint, "install Python 3.14.0") || s.Handshakes.Load() != 1 {
		t.Errorf("%#v after %d handshakes", b, s.Handshakes.Load())
	}
}

// TestTheWaysOutOfAnUntrustedCertificateLeadOut follows the hints.
func TestTheWaysOutOfAnUntrustedCertificateLeadOut(t *testing.T) {
	index := oneWheel(t)
	for _, kind := range []string{"authority", "self-signed"} {
		s := testkit.ServeCertified(t, kind, index)
		for name, configure := range map[string]func(t *testing.T) []string{
			"SSL_CERT_FILE": func(t *testing.T) []string { return trusting(t, s.CA) },
			"added to the file that it names": func(t *testing.T) []string {
				file := filepath.Join(t.TempDir(), "mine.pem")
				data, err := os.ReadFile(s.CA)
				testkit.Check(t, err)
				other, err := os.ReadFile(testkit.ServeCertified(t, kind, index).CA)
				testkit.Check(t, errors.Join(err, os.WriteFile(file, append(other, data...), 0o600)))
				return trusting(t, file)
			},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				environ := configure(t)
				u := New(t.TempDir(), Config{IndexURL: s.URL + "/simple"}, environ, zap.NewNop())
				dir := filepath.Join(u.Dir, "envs", "x")
				b := &build{Builder: u, spec: wanting("nothing"), mark: dir, progress: func(builder.Stage) {}}
				testkit.Check(t, b.prepare(t.Context(), 0))
				testkit.Check(t, u.Venv(t.Context(), b.tool, dir, b.python, dir))
				if err := b.install(t.Context()); err != nil || len(allDistributions(dir)) != 1 {
					t.Errorf("%+v", err)
				}
				// pip is told of the same file.
				python, err := exec.Command("python3", "-c", "import sys; print(sys.executable, end='')").Output()
				testkit.Check(t, err)
				done, err := u.pythonWith(context.Background(), "", u.pythonEnv(u.Config()), string(python), "-m",
					"pip", "download", "--retries", "0", "--no-deps", "--dest", t.TempDir(), "nothing")
				if err != nil {
					t.Errorf("pip: %v: %s", err, done.Output)
				}
			})
		}
	}
}
