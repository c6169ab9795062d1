package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"runtimed/doctor"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

// lookFetch asks for what the first build needs where uv is not there: pip's index for uv, and uv's own. pip itself is asked to, and
// where it takes too long to start, what its index answers to us counts. Which index pip has of its own, it alone knows.
func (x *exam) lookFetch(uv doctor.FoundUV) finding {
	index := cmp.Or(x.cfg.UV.IndexURL, valueOf(x.environ, "PIP_INDEX_URL"), x.pipSetting("index-url"))
	own := cmp.Or(x.cfg.UV.IndexURL, valueOf(x.environ, "UV_DEFAULT_INDEX"))
	if cmp.Or(valueOf(x.environ, "PIP_NO_INDEX"), x.pipSetting("no-index")) != "" {
		return warning("not tested: pip, which fetches uv, is set to ask no index").next("the first build tells whether pip finds uv; or install uv")
	}
	asked := make(chan error, 1)
	x.children.Go(func() { asked <- x.tools.FetchIndex(x.ctx, uv.FetchWith) })
	client, way := x.pipClient(index)
	name := cmp.Or(index, "pip's own index") + way
	var ours finding
	if index != "" {
		ours = x.askIndex(client, index, way, "uv")
	} else {
		ours = x.askProxy(client)
	}
	if ours.Status != rpc.CheckOK {
		ours.Hint += "; or install uv (https://docs.astral.sh/uv)"
	}
	if ours.Status == rpc.CheckProblem {
		ours.Message = "uv cannot be fetched: " + ours.Message
		return ours
	}
	said := name + " answers"
	var b *builder.Error
	select {
	case err := <-asked:
		switch {
		case err == nil:
			said = fmt.Sprintf("%s has uv %s", name, uv.Version)
		case errors.As(err, &b):
			f := x.failed(err, "")
			f.Message = "uv cannot be fetched from " + name + ": " + f.Message
			f.Hint += "; or install uv (https://docs.astral.sh/uv)"
			return f
		case ours.Status != rpc.CheckOK:
			return ours
		}
	case <-x.ctx.Done():
		if ours.Status != rpc.CheckOK {
			return ours
		}
		said += ", and pip, which fetches uv, took too long to be asked whether it finds it so"
	}
	if own != "" && own != index {
		if f := x.askIndex(http.DefaultClient, own, byWay(own), "ipykernel"); f.Status != rpc.CheckOK {
			return f
		}
		said += "; " + own + " answers"
	}
	return fine("%s", said)
}

// askProxy is for an index that pip alone knows: it tells of the proxy that pip asks it through, if it has one, and no more.
func (x *exam) askProxy(client *http.Client) finding {
	untold := warning("not tested: pip, which fetches uv and knows its index, did not answer within %s", doctorLook).
		next("the first build tells whether pip finds uv")
	proxy := http.ProxyFromEnvironment
	if t, ok := client.Transport.(*http.Transport); ok {
		proxy = t.Proxy
	}
	via, err := proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "index.invalid"}}) // one of the internet
	if err != nil || via == nil {
		return untold
	}
	port := cmp.Or(via.Port(), map[string]string{"http": "80", "https": "443"}[via.Scheme], "1080")
	c, err := new(net.Dialer).DialContext(x.ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err != nil && x.ctx.Err() == nil {
		return problem("the proxy %s cannot be reached: %v", redact.Text(via.String()), err).next("check the proxy's address, or the network")
	}
	if err == nil {
		_ = c.Close()
	}
	return untold
}

// askIndex asks an index for a project. way names the proxy of the client, if it has one.
func (x *exam) askIndex(client *http.Client, index, way, project string) finding {
	name := index + way
	if path, local := strings.CutPrefix(index, "file://"); local {
		if _, err := os.Stat(path); err != nil {
			return problem("the package index %s is not there: %v", index, err).next("correct uv.index_url in the configuration, or the index of pip and uv")
		}
		return fine("%s is there", index)
	}
	status, err := headWith(x.ctx, client, strings.TrimRight(index, "/")+"/"+project+"/")
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
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && x.hasLogins(index):
		return warning("%s refuses access (status %d) without a user name and password; those that pip and uv may have were not tested", name, status).
			next("the first build tells")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return problem("%s refuses access (status %d)", name, status).
			next("check the user name and token of the package index (uv.index_url in the configuration, or the index of pip and uv)")
	case status >= 400 && cmp.Or(valueOf(x.environ, "PIP_EXTRA_INDEX_URL"), x.pipSetting("extra-index-url"), valueOf(x.environ, "UV_INDEX")) != "":
		return warning("%s answers with the status %d when it is asked for %s; the other indexes were not tested", name, status, project).
			next("the first build tells whether one of them has it")
	case status >= 400:
		return problem("%s answers with the status %d when it is asked for %s", name, status, project).
			next("correct uv.index_url in the configuration, or the index of pip and uv")
	}
	return fine("%s answers", name)
}

// hasLogins says whether pip or uv may have a name and a password for an index beside those in its URL, with which we have asked.
func (x *exam) hasLogins(index string) bool {
	if u, err := url.Parse(index); err == nil && u.User != nil {
		return false
	}
	for _, v := range x.environ {
		if strings.HasPrefix(v, "UV_INDEX_") || strings.HasPrefix(v, "UV_KEYRING_PROVIDER=") {
			return true
		}
	}
	home := valueOf(x.environ, "HOME")
	return isThere(cmp.Or(valueOf(x.environ, "NETRC"), filepath.Join(home, ".netrc"))) || isThere(filepath.Join(home, "_netrc")) ||
		cmp.Or(valueOf(x.environ, "PIP_KEYRING_PROVIDER"), x.pipSetting("keyring-provider")) != ""
}

// pipClient trusts whom pip is told to trust, and goes by pip's own proxy where it has one. way names that, or the daemon's.
func (x *exam) pipClient(index string) (client *http.Client, way string) {
	client, way = http.DefaultClient, byWay(index)
	t := http.DefaultTransport.(*http.Transport).Clone()
	path := cmp.Or(valueOf(x.environ, "PIP_CERT"), x.pipSetting("cert"), valueOf(x.environ, "REQUESTS_CA_BUNDLE"), valueOf(x.environ, "CURL_CA_BUNDLE"))
	roots := x509.NewCertPool()
	if data, err := safefile.Read(path, 16<<20); path != "" && err == nil && roots.AppendCertsFromPEM(data) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
		client = &http.Client{Transport: t}
	}
	if via := cmp.Or(valueOf(x.environ, "PIP_PROXY"), x.pipSetting("proxy")); via != "" {
		if !strings.Contains(via, "://") {
			via = "http://" + via
		}
		if proxy, err := url.Parse(via); err == nil {
			t.Proxy = http.ProxyURL(proxy)
			client, way = &http.Client{Transport: t}, ", by way of the proxy "+redact.Text(via)
		}
	}
	return client, way
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

func head(ctx context.Context, to string) (int, error) {
	return headWith(ctx, http.DefaultClient, to)
}

// headWith asks without taking the answer's body, which may be large.
func headWith(ctx context.Context, client *http.Client, to string) (status int, err error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		req, err := http.NewRequestWithContext(ctx, method, to, nil)
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
