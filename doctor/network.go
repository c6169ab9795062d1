package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"

	"runtimed/internal/redact"
)

// netVariables say how to reach the network.
var netVariables = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// useProxies takes the daemon's proxies instead of this shell's. Go reads the variables once, at the first request.
func useProxies(e *Env) {
	for _, name := range netVariables {
		if value := e.getenv(name); value != "" {
			_ = os.Setenv(name, value)
		} else {
			_ = os.Unsetenv(name)
		}
	}
	all := cmp.Or(os.Getenv("ALL_PROXY"), os.Getenv("all_proxy")) // unknown to Go
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		if all != "" && os.Getenv(name) == "" && os.Getenv(strings.ToLower(name)) == "" {
			_ = os.Setenv(name, all)
		}
	}
}

// byProxy names the proxy for a URL, or for any public one if to is no URL.
func byProxy(to string) string {
	via := cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))
	if u, err := url.Parse(to); err == nil && u.Host != "" {
		via = ""
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			via = proxy.String()
		}
	}
	if via == "" {
		return ""
	}
	return ", by way of the proxy " + redact.Text(withScheme(via))
}

func withScheme(proxy string) string {
	if strings.Contains(proxy, "://") {
		return proxy
	}
	return "http://" + proxy
}

// head avoids downloading the body.
func head(ctx context.Context, client *http.Client, to string) (status int, err error) {
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

func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// noAnswer describes an error of head; check is what to check.
func noAnswer(ctx context.Context, name string, err error, check string) Findings {
	if ctx.Err() != nil {
		return warning("%s did not answer within %s", name, checkTime).
			hint("it may be slow, or cannot be reached; builds wait longer")
	}
	if c, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return problem("the certificate of %s is not trusted here: %v", name, c.Err).
			hint("for the daemon, SSL_CERT_FILE must name a file with whom to trust; the clock must be right")
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // its text repeats the URL
		err = u.Err
	}
	return problem("%s cannot be reached: %v", name, err).
		hint("check the network, the proxy and " + check + "; it is tried again by itself")
}

// notAdmitted is for a refusal that need not hold for who has a user name and password.
func notAdmitted(name string, status int, who string) Findings {
	return skipped("%s refuses access (status %d) without a user name and password; "+
		"not tested: those that %s may have", name, status, who).hint("the first build tells")
}
