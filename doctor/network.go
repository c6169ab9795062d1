package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"runtimed/config"
	"runtimed/internal/redact"
	"runtimed/pool/conda"
	"runtimed/rpc"
)

// netVariables say how to reach the network.
var netVariables = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// takeProxies has our own requests go the daemon's way, for whom a service manager may have set another than this shell. It comes
// before the first request, since Go reads these once.
func (x *exam) takeProxies() {
	for _, name := range netVariables {
		if value := valueOf(x.environ, name); value != "" {
			_ = os.Setenv(name, value) // none of these names is refused
		} else {
			_ = os.Unsetenv(name)
		}
	}
	all := cmp.Or(os.Getenv("ALL_PROXY"), os.Getenv("all_proxy")) // which the tools know, and Go does not
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		if all != "" && os.Getenv(name) == "" && os.Getenv(strings.ToLower(name)) == "" {
			_ = os.Setenv(name, all)
		}
	}
}

// byWay names the proxy for a URL; one that is not known is taken for one of the internet.
func byWay(to string) string {
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
	if !strings.Contains(via, "://") {
		via = "http://" + via
	}
	return ", by way of the proxy " + redact.Text(via)
}

func (x *exam) lookIndex() finding {
	if !x.needUV() {
		return fine("not needed: no pool that is on installs from it")
	}
	uv, err := x.uv()
	if err != nil || uv.FetchWith == "" && !answers(uv) {
		return warning("not tested without uv, which asks it").next("see what is said of uv")
	}
	if uv.FetchWith != "" {
		return x.lookFetch(uv)
	}
	index := cmp.Or(x.cfg.UV.IndexURL, valueOf(x.environ, "UV_DEFAULT_INDEX"))
	name := cmp.Or(index, "uv's own index") + byWay(index)
	const asked = "ipykernel" // which every pool has
	_, err = within(x, func() (struct{}, error) { return struct{}{}, x.tools.Index(x.ctx, uv.Path, asked) })
	if err != nil {
		f := x.failed(err, name+" did not answer")
		if f.Status == rpc.CheckProblem {
			f.Message = name + ": " + f.Message
		}
		return f
	}
	return fine("%s has %s", name, asked)
}

func (x *exam) lookChannels() finding {
	pools := x.poolsOn(config.KindConda)
	if len(pools) == 0 {
		return fine("not needed: no conda pool is on")
	}
	var channels []string
	for _, p := range pools {
		channels = append(channels, p.Channels...)
	}
	slices.Sort(channels)
	channels = slices.Compact(channels)
	answers := make([]finding, len(channels))
	done := make(chan int)
	for i, channel := range channels {
		go func() {
			answers[i] = x.askChannel(channel)
			done <- i
		}()
	}
	for range channels {
		<-done
	}
	worst := func(a, b finding) int { return strings.Compare(severity(a), severity(b)) }
	f := slices.MaxFunc(answers, worst)
	lines := make([]string, len(answers))
	for i, a := range answers {
		lines[i] = a.Message
	}
	f.Message = strings.Join(lines, "\n")
	return f
}

func severity(f finding) string {
	return map[string]string{rpc.CheckOK: "0", rpc.CheckWarning: "1", rpc.CheckProblem: "2"}[f.Status]
}

// askChannel asks for what every channel has. Where a channel is that has a name only, its tool alone knows.
func (x *exam) askChannel(channel string) finding {
	at := channel
	if !strings.Contains(channel, "://") {
		if x.noTools != nil {
			return warning("%s: not tested here: %v", channel, x.noTools)
		}
		found, err := x.conda()
		known := false
		if err == nil && found.Name == conda.ProviderRattler && !found.missing {
			at, known = x.tools.ChannelURL(x.ctx, channel)
		}
		if !known {
			return warning("%s: not tested: the conda tool alone knows where it is", channel).next("the first build tells")
		}
	}
	if u, err := url.Parse(at); err == nil && u.Scheme == "file" {
		if !isThere(u.Path + "/noarch/repodata.json") {
			return problem("%s: there is no noarch/repodata.json in it", channel).next("correct channels of the pool in the configuration")
		}
		return fine("%s is there", channel)
	}
	name := channel + byWay(at)
	status := 0
	var err error
	for _, file := range []string{"/noarch/repodata.json", "/noarch/repodata.json.zst"} {
		if status, err = head(x.ctx, strings.TrimRight(at, "/")+file); err != nil || status != http.StatusNotFound {
			break
		}
	}
	switch {
	case x.ctx.Err() != nil:
		return warning("%s did not answer within %s", name, doctorLook).next("it may be slow, or cannot be reached; builds wait longer")
	case err != nil:
		return problem("%s cannot be reached: %v", name, unwrapURL(err)).
			next("check the network, the proxy and the channel; it is tried again by itself")
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return warning("%s refuses access (status %d) without a user name and password; those that the conda tool may have were not tested", name, status).
			next("the first build tells")
	case status >= 400:
		return problem("%s answers with the status %d", name, status).next("correct channels of the pool in the configuration")
	}
	return fine("%s answers", name)
}

// unwrapURL is an error without the URL before it, which has been told.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return fmt.Errorf("asking: %w", err)
}
