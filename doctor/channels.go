package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"runtimed/config"
	"runtimed/internal/safefile"
	"runtimed/pool/conda"
)

func checkChannels(ctx context.Context, e *Env, pools []config.Pool) Findings {
	var channels, needed []string
	for _, p := range pools {
		channels = append(channels, p.Channels...)
		if !e.cfg.Optional(p.Name) {
			needed = append(needed, p.Channels...)
		}
	}
	slices.Sort(channels)
	channels = slices.Compact(channels)
	answers := make([]Findings, len(channels))
	var work sync.WaitGroup
	for i, channel := range channels {
		work.Go(func() {
			answers[i] = askChannel(ctx, e, channel)
			if !slices.Contains(needed, channel) {
				answers[i] = answers[i].optional()
			}
		})
	}
	work.Wait()
	return slices.Concat(answers...)
}

// askChannel asks for a file that every channel has. Only the tool knows where a named channel is.
func askChannel(ctx context.Context, e *Env, channel string) Findings {
	at := channel
	if !strings.Contains(channel, "://") {
		if e.toolsErr != nil {
			return skipped("%s: not tested: %v", channel, e.toolsErr)
		}
		tool, err := e.conda()
		known := false
		if err == nil && tool.Name == conda.ProviderRattler && !tool.missing {
			at, known = e.tools.channelURL(ctx, channel)
		}
		if !known {
			return skipped("%s: not tested: the conda tool alone knows where it is", channel).
				hint("the first build tells")
		}
	}
	if u, err := url.Parse(at); err == nil && u.Scheme == "file" {
		if !safefile.Exists(filepath.Join(safefile.URLPath(u), "noarch", "repodata.json")) {
			return problem("%s: there is no noarch/repodata.json in it", channel).
				hint("correct channels of the pool in the configuration")
		}
		return fine("%s is there", channel)
	}
	name := channel + byProxy(at)
	status := 0
	var err error
	for _, file := range []string{"/noarch/repodata.json", "/noarch/repodata.json.zst"} {
		status, err = head(ctx, http.DefaultClient, strings.TrimRight(at, "/")+file)
		if err != nil || status != http.StatusNotFound {
			break
		}
	}
	switch {
	case err != nil:
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		if tool, toolErr := e.conda(); untrusted && toolErr == nil && tool.Name != conda.ProviderRattler {
			return skipped("%s: not tested: its certificate is not trusted here, and %s has settings of its own",
				name, tool.Name).hint("the first build tells")
		}
		return noAnswer(ctx, name, err, "the channel")
	case refused(status):
		return notAdmitted(name, status, "the conda tool")
	case status >= 400:
		return problem("%s answers with the status %d", name, status).
			hint("correct channels of the pool in the configuration")
	}
	return fine("%s answers", name)
}
