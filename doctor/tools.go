package doctor

import (
	"context"
	"errors"
	"strings"

	"runtimed/config"
	"runtimed/pool/builder"
)

// needUV: uv pools need it, and rattler's venv.
func (e *Env) needUV() bool {
	if len(e.poolsOn(config.KindUV)) > 0 {
		return true
	}
	if len(e.poolsOn(config.KindConda)) == 0 {
		return false
	}
	conda, err := e.conda()
	return err == nil && conda.missing
}

const mayHang = "it may be slow, or hang; builds wait longer"

// untold describes an error of a tool that was asked for what builds find out themselves. A slow machine is no fault.
func untold(ctx context.Context, err error, slow string) Findings {
	if late(ctx, err) {
		return skipped("not tested: %s within %s", slow, checkTime).hint(mayHang)
	}
	return failed(ctx, err, slow)
}

func late(ctx context.Context, err error) bool { return ctx.Err() != nil && errors.Is(err, ctx.Err()) }

// failed describes an error of a tool; slow is the message if it was too slow.
func failed(ctx context.Context, err error, slow string) Findings {
	if late(ctx, err) {
		return warning("%s within %s", slow, checkTime).hint(mayHang)
	}
	b, ok := errors.AsType[*builder.Error](err)
	if !ok {
		return problem("%v", err)
	}
	message := b.Message
	// the last line has the innermost cause
	if lines := strings.Split(strings.TrimSpace(b.Output), "\n"); b.Output != "" {
		message += ": " + strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "cause: ")
	}
	return problem("%s", message).hint(b.Hint)
}

// isUV reports whether there is a uv that answers: builds take whatever the configuration names.
func isUV(uv foundUV) bool {
	return uv.FetchWith == "" && uv.Version != "" && '0' <= uv.Version[0] && uv.Version[0] <= '9'
}

func checkUV(ctx context.Context, e *Env) Findings {
	if !e.needUV() {
		return skipped("not needed: no pool that is on uses it")
	}
	uv, err := e.uv()
	switch {
	case err != nil:
		return failed(ctx, err, "uv did not tell its version")
	case uv.FetchWith != "":
		return note("not here yet: the first build fetches uv %s with %s", uv.Version, uv.FetchWith)
	case !isUV(uv):
		return problem("%s does not tell its version: it is not uv, or cannot run here", uv.Path).
			hint("correct uv.path in the configuration, or remove it to have uv looked up")
	}
	return fine("uv %s at %s: %s", uv.Version, uv.Path, uv.Why)
}

func checkPython(ctx context.Context, e *Env, pools []config.Pool) Findings {
	uv, err := e.uv()
	if err != nil || uv.FetchWith == "" && !isUV(uv) {
		return skipped("not tested: without uv, nothing looks for them").hint("see what is said of uv")
	}
	if uv.FetchWith != "" {
		return pythonBeforeUV(uv, pools)
	}
	wants := make([]string, len(pools))
	for i, p := range pools {
		wants[i] = p.Python
	}
	pythons, err := within(ctx, e, func(ctx context.Context) ([]foundPython, error) {
		return e.tools.findPythons(ctx, uv.Path, wants)
	})
	if err != nil {
		return untold(ctx, err, "uv did not tell which Pythons are here")
	}
	var found Findings
	for i, p := range pythons {
		name, say, hint := pools[i].Name, fine, ""
		switch {
		case p.Err != nil:
			found = append(found, problem("%s: %s", name, p.Err.Message).hint(p.Err.Hint)...)
			continue
		case p.Fetch:
			say = note
			hint = "nothing to do where the network allows it; else install that Python, or name another one"
		}
		at := "at " + p.Path
		if p.Fetch {
			at = "is not here, and uv fetches it with the first build"
		}
		found = append(found, say("%s: Python %s %s", name, p.Version, at).hint(hint)...)
	}
	return found
}

// pythonBeforeUV knows only the Python that fetches uv.
func pythonBeforeUV(uv foundUV, pools []config.Pool) Findings {
	for _, p := range pools {
		if p.Python != "" && !strings.HasPrefix(uv.Fetcher+".", p.Python+".") {
			return skipped("%s: not tested: whether there is a Python %s is known when uv is there, which looks for it",
				p.Name, p.Python).
				hint("the first build tells; or install uv, and then: runt doctor")
		}
	}
	return fine("Python %s at %s, until uv is there and looks for others", uv.Fetcher, uv.FetchWith)
}

func checkConda(ctx context.Context, e *Env, pools []config.Pool) Findings {
	conda, err := e.conda()
	switch {
	case err != nil:
		found := untold(ctx, err, "the conda tools did not tell their versions")
		if len(pools) == 1 && e.cfg.Optional(pools[0].Name) {
			return found.optional()
		}
		return found
	case conda.missing:
		return note("%s %s: %s; the first build fetches it", conda.Name, conda.Version, conda.Why)
	case conda.Path == "":
		return fine("%s %s: %s", conda.Name, conda.Version, conda.Why)
	}
	return fine("%s %s at %s: %s", conda.Name, conda.Version, conda.Path, conda.Why)
}
