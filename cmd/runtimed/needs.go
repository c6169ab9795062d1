package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/redact"
	"runtimed/pool"
	"runtimed/rpc"
)

// maxRequirements bounds what one acquire may ask for besides the packages of the pool.
const maxRequirements = 1000

// The members of pool.acquire that say what an environment shall have.
const (
	inPackages     = "packages"
	inRequirements = "requirements"
	inScript       = "script"
	inPython       = "python"
)

// needsOf is what p asks for beyond the packages of the pool, the same value however it was written: by name, as a requirements
// file or as a script's metadata, in whatever order and case. Its errors are invalid_params and name member and line.
func needsOf(p rpc.AcquireParams) (pool.Needs, error) {
	var (
		all      []string
		requires string
	)
	for _, text := range p.Packages {
		r, problem := readRequirement(text)
		if problem != "" {
			return pool.Needs{}, badRequirement(inPackages, text, "packages has %s, which %s", brief(text), problem)
		}
		all = append(all, r)
	}
	if p.Requirements != nil {
		list, err := readRequirements(*p.Requirements)
		if err != nil {
			return pool.Needs{}, err
		}
		all = append(all, list...)
	}
	if p.Script != nil {
		block, err := readScript(*p.Script)
		if err != nil {
			return pool.Needs{}, err
		}
		all, requires = append(all, block.dependencies...), block.requiresPython
	}
	python, fits, err := readPython(value(p.Python), requires)
	if err != nil {
		return pool.Needs{}, err
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxRequirements {
		return pool.Needs{}, badNeed(inPackages, "%d requirements are asked for, but may be %d", len(all), maxRequirements)
	}
	return pool.Needs{Packages: all, Python: python, RequiresPython: fits}, nil
}

func badNeed(param, format string, args ...any) *rpc.Error {
	e := rpc.Errorf(rpc.KindInvalidParams, format, args...)
	e.Data.Param = param
	e.Data.Hint = needHints[param]
	return e
}

// badRequirement is badNeed for a requirement whose text says what was meant by it.
func badRequirement(param, text, format string, args ...any) *rpc.Error {
	e := badNeed(param, format, args...)
	text = strings.TrimSpace(text)
	option, _, _ := strings.Cut(strings.Replace(text, "=", " ", 1), " ")
	switch name, version, _ := strings.Cut(text, "@"); {
	case strings.HasPrefix(text, "-e"), option == "--editable":
		return e.WithHint("it would be a folder's; install that into the environment once you have it: pip install -e FOLDER")
	case strings.HasPrefix(text, "-r"), strings.HasPrefix(text, "-c"), option == "--requirement", option == "--constraint":
		return e.WithHint("put what is in that file in its place")
	case text != "" && text[0] == '-':
		return e.WithHint("leave it out; the index and what belongs to it come from the daemon's configuration")
	case versionAfterAt.MatchString(text):
		return e.WithHint("write it as %s==%s", strings.TrimSpace(name), strings.TrimSpace(version))
	case latestAfterAt.MatchString(text):
		return e.WithHint("write it as %s: the newest is taken by itself", strings.TrimSpace(name))
	case oneEqual.MatchString(text):
		return e.WithHint("write it as %s", strings.Replace(text, "=", "==", 1))
	}
	return e
}

var (
	versionAfterAt = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*@\s*v?\d[\w.!+*-]*$`)
	latestAfterAt  = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*@\s*latest$`)
	oneEqual       = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*=\s*\d[\w.!+*-]*$`)
)

// needHints are the next steps where an error has none of its own.
var needHints = map[string]string{
	inPackages:     `write each as "numpy", "numpy>=2,<3" or "numpy @ https://…"`,
	inRequirements: `correct that line; it may be like "numpy", "numpy>=2,<3" or "numpy @ https://…"`,
	inScript:       "correct the script's metadata; it is between the lines # /// script and # ///",
	inPython:       `write it as "3.12", "3.12.4", ">=3.11,<3.14" or an absolute path`,
}

// brief is what a caller wrote, fit for a message: short, on one line, and without passwords.
func brief(s string) string {
	const most = 80
	s = redact.Text(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
