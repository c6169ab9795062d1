package main

import (
	"fmt"
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
			return pool.Needs{}, badNeed(inPackages, "packages has %s, which %s", brief(text), problem)
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
	return pool.Needs{Packages: all, Python: python, Fits: fits}, nil
}

func badNeed(param, format string, args ...any) *rpc.Error {
	e := rpc.Errorf(rpc.KindInvalidParams, format, args...)
	e.Data.Param = param
	e.Data.Hint = needHints[param]
	return e
}

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
