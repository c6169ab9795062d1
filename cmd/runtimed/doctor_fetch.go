package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"runtimed/internal/safefile"
	"runtimed/pool"
	"runtimed/rpc"
)

const usualIndex = ""

// lookFetch asks for what the first build needs where uv is not there: pip's index for uv, and uv's own. pip itself is asked to, and
// where it takes too long to start, what its index answers to us counts.
func (x *exam) lookFetch(uv pool.FoundUV) finding {
	index := cmp.Or(x.cfg.UV.IndexURL, valueOf(x.environ, "PIP_INDEX_URL"), x.pipSetting("index-url"), usualIndex)
	own := cmp.Or(x.cfg.UV.IndexURL, valueOf(x.environ, "UV_DEFAULT_INDEX"), usualIndex)
	if cmp.Or(valueOf(x.environ, "PIP_NO_INDEX"), x.pipSetting("no-index")) != "" {
		return warning("not tested: pip, which fetches uv, is told to ask no index").next("the first build tells whether pip finds uv; or install uv")
	}
	asked := make(chan error, 1)
	x.children.Go(func() { asked <- x.tools.FetchIndex(x.ctx, uv.FetchWith) })
	ours := x.askIndex(index, "uv")
	if ours.Status != rpc.CheckOK {
		ours.Message = "uv cannot be fetched: " + ours.Message
		ours.Hint += "; or install uv (https://docs.astral.sh/uv)"
		return ours
	}
	said := fmt.Sprintf("%s answers", index+byWay(index))
	var b *pool.BuildError
	select {
	case err := <-asked:
		switch {
		case err == nil:
			said = fmt.Sprintf("%s has uv %s", index+byWay(index), uv.Version)
		case errors.As(err, &b):
			f := x.failed(err, "")
			f.Message = "uv cannot be fetched from " + index + byWay(index) + ": " + f.Message
			f.Hint += "; or install uv (https://docs.astral.sh/uv)"
			return f
		}
	case <-x.ctx.Done():
		said += ", and pip, which fetches uv, took too long to be asked whether it finds it so"
	}
	if own != index {
		if f := x.askIndex(own, "ipykernel"); f.Status != rpc.CheckOK {
			return f
		}
		said += "; " + own + " answers"
	}
	return fine("%s", said)
}

// askIndex asks an index for a project.
func (x *exam) askIndex(index, project string) finding {
	name := index + byWay(index)
	if path, local := strings.CutPrefix(index, "file://"); local {
		if _, err := os.Stat(path); err != nil {
			return problem("the package index %s is not there: %v", index, err).next("correct uv.index_url in the configuration, or the index of pip and uv")
		}
		return fine("%s is there", index)
	}
	status, err := headWith(x.ctx, x.pipClient(), strings.TrimRight(index, "/")+"/"+project+"/")
	var untrusted *tls.CertificateVerificationError
	switch {
	case x.ctx.Err() != nil:
		return warning("%s did not answer within %s", name, doctorLook).next("it may be slow, or cannot be reached; builds wait longer")
	case errors.As(err, &untrusted):
		return problem("the certificate of %s is not trusted here: %v", name, untrusted.Err).
			next("name the certificates that vouch for it in SSL_CERT_FILE (for pip: PIP_CERT) for the daemon; the clock must be right")
	case err != nil:
		return problem("%s cannot be reached: %v", name, unwrapURL(err)).
			next("check the network, the proxy and the package index (uv.index_url in the configuration); it is tried again by itself")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return warning("%s asks for a name and a password, which were not tested here", name).next("pip and uv may have them; the first build tells")
	case status >= 400 && cmp.Or(valueOf(x.environ, "PIP_EXTRA_INDEX_URL"), x.pipSetting("extra-index-url"), valueOf(x.environ, "UV_INDEX")) != "":
		return warning("%s answers with the status %d when it is asked for %s; the other indexes were not tested", name, status, project).
			next("the first build tells whether one of them has it")
	case status >= 400:
		return problem("%s answers with the status %d when it is asked for %s", name, status, project).
			next("correct uv.index_url in the configuration, or the index of pip and uv")
	}
	return fine("%s answers", name)
}

// pipClient trusts what pip is told to.
func (x *exam) pipClient() *http.Client {
	path := cmp.Or(valueOf(x.environ, "PIP_CERT"), x.pipSetting("cert"), valueOf(x.environ, "REQUESTS_CA_BUNDLE"), valueOf(x.environ, "CURL_CA_BUNDLE"))
	data, err := safefile.Read(path, 16<<20)
	roots := x509.NewCertPool()
	if path == "" || err != nil || !roots.AppendCertsFromPEM(data) {
		return http.DefaultClient
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &http.Client{Transport: t}
}

// pipSetting is a setting of pip's configuration files, the last of which counts.
func (x *exam) pipSetting(key string) (value string) {
	home := valueOf(x.environ, "HOME")
	config := cmp.Or(valueOf(x.environ, "XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	for _, path := range []string{
		"/etc/pip.conf", filepath.Join(home, ".pip", "pip.conf"), filepath.Join(config, "pip", "pip.conf"), valueOf(x.environ, "PIP_CONFIG_FILE"),
	} {
		data, err := safefile.Read(path, 1<<20)
		if err != nil || path == os.DevNull {
			continue
		}
		section := ""
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			if strings.HasPrefix(line, "[") {
				section = strings.Trim(line, "[]")
			}
			name, v, ok := strings.Cut(line, "=")
			if ok && (section == "global" || section == "install") && strings.ReplaceAll(strings.TrimSpace(name), "_", "-") == key {
				value = strings.TrimSpace(v)
			}
		}
	}
	return value
}

func head(ctx context.Context, url string) (int, error) {
	return headWith(ctx, http.DefaultClient, url)
}

// headWith asks without taking the answer's body, which may be large.
func headWith(ctx context.Context, client *http.Client, url string) (status int, err error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		req, err := http.NewRequestWithContext(ctx, method, url, nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		if status = resp.StatusCode; status != http.StatusMethodNotAllowed && status != http.StatusNotImplemented {
			break
		}
	}
	return status, nil
}
