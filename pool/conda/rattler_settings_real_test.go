//go:build e2e && unix

package conda

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

// TestTheUsersOwnSettingsHold is what the documentation says of rattler's settings.
func TestTheUsersOwnSettingsHold(t *testing.T) {
	files := http.FileServer(http.Dir(channelDir(t)))
	plain := serve(t, nil).URL
	private, self := testkit.ServeCertified(t, "authority", files), testkit.ServeCertified(t, "self-signed", files)
	guarded := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		token := strings.HasPrefix(r.URL.Path, "/t/")
		if user != "al" || password != "word" || token {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return user != "al" || password != "word"
	}).URL
	proxy := httptest.NewServer(files) // takes whatever host it is asked for
	t.Cleanup(proxy.Close)
	home := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		testkit.Check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, []byte(text), 0o600)))
		return path
	}
	netrc := write("netrc", "machine 127.0.0.1 login al password word\n")
	logins := write("logins.json", `{"127.0.0.1": {"BasicHTTP": {"username": "al", "password": "word"}}}`)
	write("rattler/.rattler/credentials.json", `{"127.0.0.1": {"BasicHTTP": {"username": "al", "password": "word"}}}`)
	config := func(name, text string) string {
		write(filepath.Join(name, "rattler", "config.toml"), text)
		return "XDG_CONFIG_HOME=" + filepath.Join(home, name)
	}
	proxied := config("proxy", fmt.Sprintf("[proxy-config]\nhttp = %q\n", proxy.URL))
	mirrors := config("mirrors", fmt.Sprintf("[mirrors]\n\"http://channel.invalid/c\" = [%q]\n", plain))
	others := write("others.json", `{"x.invalid": {"BearerToken": "x"}}`)
	bad, good := "http://al:wrong@"+strings.TrimPrefix(guarded, "http://"),
		"http://al:word@"+strings.TrimPrefix(guarded, "http://")
	for name, c := range map[string]struct {
		channel string
		environ []string
		cause   string // empty: it works
	}{
		"a certificate that nobody knows": {private.URL, nil, builder.CauseCertificate},
		"SSL_CERT_FILE":                   {private.URL, []string{"SSL_CERT_FILE=" + private.CA}, ""},
		"SSL_CERT_FILE, self-signed":      {self.URL, []string{"SSL_CERT_FILE=" + self.CA}, ""},
		"tls-no-verify":                   {private.URL, []string{config("verify", "tls-no-verify = true\n")}, ""},
		"HTTP_PROXY":                      {"http://channel.invalid", []string{"HTTP_PROXY=" + proxy.URL}, ""},
		"http_proxy":                      {"http://channel.invalid", []string{"http_proxy=" + proxy.URL}, ""},
		"ALL_PROXY":                       {"http://channel.invalid", []string{"ALL_PROXY=" + proxy.URL}, ""},
		"NO_PROXY":                        {plain, []string{"HTTP_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1"}, ""},
		"proxy-config":                    {"http://channel.invalid", []string{proxied}, ""},
		"mirrors":                         {"http://channel.invalid/c", []string{mirrors}, ""},
		"no login":                        {guarded, nil, builder.CauseAuth},
		"NETRC":                           {guarded, []string{"NETRC=" + netrc}, ""},
		"RATTLER_AUTH_FILE":               {guarded, []string{"RATTLER_AUTH_FILE=" + logins}, ""},
		"credentials.json":                {guarded, []string{"HOME=" + filepath.Join(home, "rattler")}, ""},
		"authentication-override-file": {guarded,
			[]string{config("override", "authentication-override-file = \""+logins+"\"\n")}, ""},
		"the URL's login counts more": {bad, []string{"RATTLER_AUTH_FILE=" + logins}, builder.CauseAuth},
		"and than the override's": {bad,
			[]string{config("override", "authentication-override-file = \""+logins+"\"\n")}, builder.CauseAuth},
		"the URL's login beside others": {good, []string{"RATTLER_AUTH_FILE=" + others}, ""},
		"a broken configuration":        {plain, []string{config("broken", "mirrors = [\n")}, builder.CauseOther},
		"broken logins": {good, []string{"RATTLER_AUTH_FILE=" + write("broken.json", "{")},
			builder.CauseOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := realRattler(t, c.environ...)
			job := r.job(t, c.channel, "rt-activate")
			err := r.create(t.Context(), r.Env("a"), job)
			var b *builder.Error
			switch {
			case c.cause == "" &&
				// it has no Python, which is all that is wrong with it
				builder.CauseOf(err) == builder.CauseVerifyFailed:
				noneHas(t, filepath.Dir(job.to), "word")
			case !errors.As(err, &b) || b.Cause != c.cause || b.Hint == "" ||
				strings.Contains(b.Message, "JSONDecodeError"):
				t.Errorf("%#v", b)
			default:
				t.Log(b)
			}
		})
	}
}

// TestTheCertificatesOfAChannelAreToldApart has a real rattler ask servers that it does not trust.
func TestTheCertificatesOfAChannelAreToldApart(t *testing.T) {
	files := http.FileServer(http.Dir(channelDir(t)))
	for kind, c := range testkit.CertificateErrors {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testkit.ServeCertified(t, kind, files)
			var environ []string
			if c.Say != testkit.Untrusted {
				environ = []string{"SSL_CERT_FILE=" + s.CA}
			}
			r := realRattler(t, environ...)
			began := time.Now()
			b := buildError(t, r.create(t.Context(), r.Env("a"), r.job(t, s.URL, "rt-activate")))
			if b.Cause != builder.CauseCertificate || !strings.Contains(b.Message, c.Say) ||
				!strings.Contains(b.Hint, c.Hint) || !strings.Contains(b.Output, "invalid peer certificate") {
				t.Errorf("%#v", b)
			}
			t.Logf("after %s and %d handshakes", time.Since(began), s.Handshakes.Load())
		})
	}
}

func TestWithCopiesNoCondaPackageIsShared(t *testing.T) {
	for _, copies := range []bool{false, true} {
		r := realRattler(t)
		r.c.uv.Configure(uv.Config{Copy: copies})
		_ = r.create(t.Context(), r.Env("a"), r.job(t, channelDir(t), "rt-activate", "rt-postlink"))
		shared := 0
		err := filepath.WalkDir(r.Env("a"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			var st syscall.Stat_t
			err = syscall.Lstat(path, &st)
			if st.Nlink > 1 {
				shared++
			}
			return err
		})
		if err != nil || (shared == 0) != copies {
			t.Errorf("copies: %t, %d files are shared, %v", copies, shared, err)
		}
	}
}

func TestALinkScriptThatFailsIsTold(t *testing.T) {
	channel := t.TempDir()
	var archive bytes.Buffer
	tarball := tar.NewWriter(&archive)
	for name, text := range map[string]string{
		"info/index.json": `{"name": "rt-fails", "version": "1.0", "build": "0", "build_number": 0, "depends": [], ` +
			`"subdir": "noarch"}`,
		"info/paths.json": `{"paths": [{"_path": "bin/.rt-fails-post-link.sh", "path_type": "hardlink"}], ` +
			`"paths_version": 1}`,
		"info/files":                 "bin/.rt-fails-post-link.sh\n",
		"bin/.rt-fails-post-link.sh": "#!/bin/sh\necho no luck >&2\nexit 3\n",
	} {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}
		_, err := tarball.Write(nil)
		if err = errors.Join(err, tarball.WriteHeader(header)); err == nil {
			_, err = tarball.Write([]byte(text))
		}
		testkit.Check(t, err)
	}
	_ = tarball.Close()
	compress := exec.Command("python3", "-c",
		"import bz2, sys; sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read()))")
	compress.Stdin = &archive
	data, err := compress.Output()
	repodata := `{"info": {"subdir": "noarch"}, "packages": {"rt-fails-1.0-0.tar.bz2": {
		"name": "rt-fails", "version": "1.0", "build": "0",
		"build_number": 0, "depends": [], "subdir": "noarch"}}, "packages.conda": {}}`
	if err = errors.Join(err, os.Mkdir(filepath.Join(channel, "noarch"), 0o700),
		os.WriteFile(filepath.Join(channel, "noarch", "rt-fails-1.0-0.tar.bz2"), data, 0o600),
		os.WriteFile(filepath.Join(channel, "noarch", "repodata.json"), []byte(repodata), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := realRattler(t)
	b := buildError(t, r.create(t.Context(), r.Env("a"), r.job(t, channel, "rt-fails")))
	if b.Cause != builder.CauseOther || b.Message != "the post-link script of rt-fails failed" {
		t.Errorf("%#v", b)
	}
}
