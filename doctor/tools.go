package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"runtimed/config"
	"runtimed/doctor"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

func (x *exam) lookConfig() finding {
	if x.faults != nil {
		return problem("%v", x.faults).
			next("correct it; runt config check says whether it is right then; until then this list goes by the defaults")
	}
	cfg := x.cfg
	lines := []string{cfg.Path}
	if _, err := os.Stat(cfg.Path); err != nil {
		lines[0] += " (not there, so the defaults hold)"
	}
	for _, s := range cfg.Settings() {
		if s.Origin == "default" {
			continue
		}
		origin := s.Origin
		if line, ok := strings.CutPrefix(origin, cfg.Path+":"); ok {
			origin = "line " + line
		}
		lines = append(lines, fmt.Sprintf("%s = %s (%s)", s.Key, literal(s.Value), origin))
	}
	return fine("%s", strings.Join(lines, "\n"))
}

// literal is a value as the file would have it.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = strconv.Quote(v[i])
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// poolsOn are the pools of that kind that are not off.
func (x *exam) poolsOn(kind string) (on []config.Pool) {
	for _, p := range x.cfg.Pools {
		if p.Kind == kind && p.Size > 0 {
			on = append(on, p)
		}
	}
	return on
}

// condaFound is what conda pools are built with.
type condaFound struct {
	builder.Tool
	missing bool // it is rattler, and not there yet
}

func (x *exam) findConda() (condaFound, error) {
	if x.noTools != nil {
		return condaFound{}, x.noTools
	}
	return within(x, func() (condaFound, error) {
		tool, missing, err := x.tools.Conda(x.ctx)
		return condaFound{tool, missing}, err
	})
}

func (x *exam) findUV() (doctor.FoundUV, error) {
	if x.noTools != nil {
		return doctor.FoundUV{}, x.noTools
	}
	return within(x, func() (doctor.FoundUV, error) { return x.tools.UV(x.ctx) })
}

// needUV says whether anything is built with uv: uv pools are, and rattler's venv is.
func (x *exam) needUV() bool {
	if len(x.poolsOn(config.KindUV)) > 0 {
		return true
	}
	if len(x.poolsOn(config.KindConda)) == 0 {
		return false
	}
	conda, err := x.conda()
	return err == nil && conda.missing
}

// failed is the finding for an error of a look; slow is for one that was not done in time.
func (x *exam) failed(err error, slow string) finding {
	if x.ctx.Err() != nil && errors.Is(err, x.ctx.Err()) {
		return warning("%s within %s", slow, doctorLook).next("it may be slow, or hang; builds wait longer")
	}
	var b *builder.Error
	if !errors.As(err, &b) {
		return problem("%v", err)
	}
	f := problem("%s", b.Message).next(b.Hint)
	if lines := strings.Split(strings.TrimSpace(b.Output), "\n"); b.Output != "" { // the innermost cause is in the last one
		f.Message += ": " + strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "cause: ")
	}
	return f
}

// answers says whether there is a uv that can be asked. Where one is named in the configuration, builds take whatever that is.
func answers(uv doctor.FoundUV) bool {
	return uv.FetchWith == "" && uv.Version != "" && '0' <= uv.Version[0] && uv.Version[0] <= '9'
}

func (x *exam) lookUV() finding {
	if !x.needUV() {
		return fine("not needed: no pool that is on uses it")
	}
	uv, err := x.uv()
	switch {
	case err != nil:
		return x.failed(err, "uv did not tell its version")
	case uv.FetchWith != "":
		return fine("not here yet: the first build fetches uv %s with %s", uv.Version, uv.FetchWith)
	case !answers(uv):
		return problem("%s does not tell its version: it is not uv, or cannot run here", uv.Path).
			next("correct uv.path in the configuration, or remove it to have uv looked up")
	}
	return fine("uv %s at %s: %s", uv.Version, uv.Path, uv.Why)
}

func (x *exam) lookPython() finding {
	pools := x.poolsOn(config.KindUV)
	if len(pools) == 0 {
		return fine("not needed: no uv pool is on")
	}
	uv, err := x.uv()
	if err != nil || uv.FetchWith == "" && !answers(uv) {
		return warning("not known without uv, which looks for them").next("see what is said of uv")
	}
	if uv.FetchWith != "" {
		return x.pythonBeforeUV(uv, pools)
	}
	wants := make([]string, len(pools))
	for i, p := range pools {
		wants[i] = p.Python
	}
	found, err := within(x, func() ([]doctor.FoundPython, error) { return x.tools.Pythons(x.ctx, uv.Path, wants) })
	if err != nil {
		return x.failed(err, "uv did not tell which Pythons are here")
	}
	var lines []string
	f := fine("")
	for i, p := range found {
		switch {
		case p.Err != nil:
			lines = append(lines, fmt.Sprintf("%s: %s", pools[i].Name, p.Err.Message))
			if f.Status != rpc.CheckProblem {
				f = problem("").next(p.Err.Hint)
			}
		case p.Fetch:
			lines = append(lines, fmt.Sprintf("%s: Python %s is not here, and uv fetches it with the first build", pools[i].Name, p.Version))
			if f.Status == rpc.CheckOK && p.Want != "" {
				f = warning("").next("nothing to do where the network allows it; else install that Python, or name another one")
			}
		default:
			lines = append(lines, fmt.Sprintf("%s: Python %s at %s", pools[i].Name, p.Version, p.Path))
		}
	}
	f.Message = strings.Join(lines, "\n")
	return f
}

// pythonBeforeUV is what is known of Pythons while uv is not there: of the one that fetches it.
func (x *exam) pythonBeforeUV(uv doctor.FoundUV, pools []config.Pool) finding {
	for _, p := range pools {
		if p.Python != "" && !strings.HasPrefix(uv.Fetcher+".", p.Python+".") {
			return warning("%s: whether there is a Python %s is not known before uv is there, which looks for it", p.Name, p.Python).
				next("the first build tells; or install uv, and then: runt doctor")
		}
	}
	return fine("Python %s at %s, until uv is there and looks for others", uv.Fetcher, uv.FetchWith)
}

func (x *exam) lookConda() finding {
	if len(x.poolsOn(config.KindConda)) == 0 {
		return fine("not needed: no conda pool is on")
	}
	conda, err := x.conda()
	switch {
	case err != nil:
		return x.failed(err, "the conda tools did not tell their versions")
	case conda.missing:
		return fine("%s %s: %s; the first build fetches it", conda.Name, conda.Version, conda.Why)
	case conda.Path == "":
		return fine("%s %s: %s", conda.Name, conda.Version, conda.Why)
	}
	return fine("%s %s at %s: %s", conda.Name, conda.Version, conda.Path, conda.Why)
}
