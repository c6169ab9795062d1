package doctor

import (
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
	"slices"
	"strings"

	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
	"runtimed/rpc"
)

const (
	everyPool = "ipykernel" // which every pool has
	orInstall = "; or install uv (https://docs.astral.sh/uv)"
)

func checkIndex(ctx context.Context, e *Env) Findings {
	if !e.needUV() {
		return skipped("not needed: no pool that is on installs from it")
	}
	uv, err := e.uv()
	if err != nil || uv.FetchWith == "" && !isUV(uv) {
		return skipped("not tested: without uv, nothing asks it").hint("see what is said of uv")
	}
	if uv.FetchWith != "" {
		return checkFetch(ctx, e, uv)
	}
	index := cmp.Or(e.cfg.UV.IndexURL, e.getenv("UV_DEFAULT_INDEX"))
	name := cmp.Or(index, "uv's own index") + byProxy(index)
	_, err = within(ctx, e, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, e.tools.askIndex(ctx, uv.Path, everyPool)
	})
	if err == nil {
		return fine("%s has %s", name, everyPool)
	}
	found := failed(ctx, err, name+" did not answer")
	if found[0].Status == rpc.CheckProblem {
		found[0].Message = name + ": " + found[0].Message
	}
	return found
}

// checkFetch asks the indexes of the first build where uv is missing: pip's for uv, and uv's. It asks pip too, which
// knows its index best; if pip starts too slowly, our own request counts.
func checkFetch(ctx context.Context, e *Env, fetch foundUV) Findings {
	index := cmp.Or(e.cfg.UV.IndexURL, e.pip("index-url"))
	own := cmp.Or(e.cfg.UV.IndexURL, e.getenv("UV_DEFAULT_INDEX"))
	if e.pip("no-index") != "" {
		return skipped("not tested: pip, which fetches uv, is set to ask no index").
			hint("the first build tells whether pip finds uv; or install uv")
	}
	answer := make(chan error, 1)
	e.children.Go(func() { answer <- e.tools.askPipIndex(ctx, fetch.FetchWith) })
	client, way := e.pipClient(index)
	name := cmp.Or(index, "pip's own index") + way
	var ours Findings
	if index != "" {
		ours = e.askIndex(ctx, client, index, way, "uv")
	} else {
		ours = askProxy(ctx, client)
	}
	if ours[0].Status != rpc.CheckOK {
		ours[0].Hint += orInstall
	}
	if ours[0].Status == rpc.CheckProblem {
		ours[0].Message = "uv cannot be fetched: " + ours[0].Message
		return ours
	}
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
	}
	message := name + " answers"
	switch {
	case err == nil:
		message = fmt.Sprintf("%s has uv %s", name, fetch.Version)
	case errors.As(err, new(*builder.Error)):
		found := failed(ctx, err, "")
		found[0].Message = "uv cannot be fetched from " + name + ": " + found[0].Message
		found[0].Hint += orInstall
		return found
	case ours[0].Status != rpc.CheckOK:
		return ours
	case ctx.Err() != nil:
		message += ", and pip, which fetches uv, took too long to be asked whether it finds it so"
	}
	if own != "" && own != index {
		found := e.askIndex(ctx, http.DefaultClient, own, byProxy(own), everyPool)
		if found[0].Status != rpc.CheckOK {
			return found
		}
		message += "; " + own + " answers"
	}
	return fine("%s", message)
}

// askProxy tests the proxy to an index that only pip knows.
func askProxy(ctx context.Context, client *http.Client) Findings {
	unknown := skipped("not tested: pip, which fetches uv and knows its index, did not answer within %s", checkTime).
		hint("the first build tells whether pip finds uv")
	public := &http.Request{URL: &url.URL{Scheme: "https", Host: "index.invalid"}} // any
	via, err := client.Transport.(*http.Transport).Proxy(public)
	if err != nil || via == nil {
		return unknown
	}
	port := cmp.Or(via.Port(), map[string]string{"http": "80", "https": "443"}[via.Scheme], "1080")
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err == nil {
		_ = c.Close()
	} else if ctx.Err() == nil {
		return problem("the proxy %s cannot be reached: %v", redact.Text(via.String()), err).
			hint("check the proxy's address, or the network")
	}
	return unknown
}

// askIndex asks an index for a project. way names the client's proxy, if any.
func (e *Env) askIndex(ctx context.Context, client *http.Client, index, way, project string) Findings {
	name := index + way
	if path, local := strings.CutPrefix(index, "file://"); local {
		if _, err := os.Stat(path); err != nil {
			return problem("the package index %s is not there: %v", index, err).
				hint("correct uv.index_url in the configuration, or the index of pip and uv")
		}
		return fine("%s is there", index)
	}
	status, err := head(ctx, client, strings.TrimRight(index, "/")+"/"+project+"/")
	switch {
	case err != nil:
		return noAnswer(ctx, name, err, "the package index (uv.index_url in the configuration)")
	case refused(status) && e.hasLogins(index):
		return notAdmitted(name, status, "pip and uv")
	case refused(status):
		return problem("%s refuses access (status %d)", name, status).
			hint("check the user name and token of the package index " +
				"(uv.index_url in the configuration, or the index of pip and uv)")
	case status >= 400 && cmp.Or(e.pip("extra-index-url"), e.getenv("UV_INDEX")) != "":
		return warning("%s answers with the status %d when it is asked for %s; the other indexes were not tested",
			name, status, project).hint("the first build tells whether one of them has it")
	case status >= 400:
		return problem("%s answers with the status %d when it is asked for %s", name, status, project).
			hint("correct uv.index_url in the configuration, or the index of pip and uv")
	}
	return fine("%s answers", name)
}

// hasLogins reports whether pip or uv may have credentials beside those in the URL.
func (e *Env) hasLogins(index string) bool {
	if u, err := url.Parse(index); err == nil && u.User != nil {
		return false
	}
	home := e.getenv("HOME")
	return slices.ContainsFunc(e.environ, func(v string) bool {
		return strings.HasPrefix(v, "UV_INDEX_") || strings.HasPrefix(v, "UV_KEYRING_PROVIDER=")
	}) || safefile.Exists(cmp.Or(e.getenv("NETRC"), filepath.Join(home, ".netrc"))) ||
		safefile.Exists(filepath.Join(home, "_netrc")) || e.pip("keyring-provider") != ""
}

// pipClient uses pip's certificates and proxy. way names the proxy.
func (e *Env) pipClient(index string) (client *http.Client, way string) {
	way = byProxy(index)
	t := http.DefaultTransport.(*http.Transport).Clone()
	path := cmp.Or(e.pip("cert"), e.getenv("REQUESTS_CA_BUNDLE"), e.getenv("CURL_CA_BUNDLE"))
	roots := x509.NewCertPool()
	if data, err := safefile.Read(path, 16<<20); path != "" && err == nil && roots.AppendCertsFromPEM(data) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	if via := e.pip("proxy"); via != "" {
		if proxy, err := url.Parse(withScheme(via)); err == nil {
			t.Proxy = http.ProxyURL(proxy)
			way = ", by way of the proxy " + redact.Text(withScheme(via))
		}
	}
	return &http.Client{Transport: t}, way
}

// pip is a setting of pip, from its files: starting pip takes too long.
func (e *Env) pip(setting string) string { return uv.PipSetting(e.environ, setting) }
