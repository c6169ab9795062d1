package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"deps.dev/util/semver"

	"runtimed/rpc"
)

var (
	pythonVersion  = regexp.MustCompile(`^3\.[0-9]{1,3}(\.[0-9]{1,3})?$`)
	exactClause    = regexp.MustCompile(`^==(3\.[0-9]{1,3}(?:\.[0-9]{1,3}|\.\*))$`)
	pythonClause   = regexp.MustCompile(`^(?:(?:==|!=)` + release + `\.\*|(?:==|!=|<=|>=|<|>)` + release + pre + `|~=[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}` + pre + `)$`)
	blanksInClause = regexp.MustCompile(`^\s*(~=|==|!=|<=|>=|<|>)\s*(\S+)\s*$`)
)

const (
	release = `[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}`
	pre     = `(?:(?:a|b|rc)[0-9]{1,3})?`
)

// readPython is the one request that both python and the requires-python of a script make. The versions it may be are one version or
// specifiers in one order; for an absolute path they come apart, as what the interpreter there must satisfy.
func readPython(python, requires string) (request, fits string, err error) {
	list, bad := readSpecifiers(requires)
	if bad != "" {
		return "", "", badNeed(inScript, "requires-python of the script has %s, which is no specifier of a version", bad).
			WithHint(`write it like ">=3.11" or ">=3.11,<3.14"`)
	}
	switch {
	case filepath.IsAbs(python):
		if strings.ContainsFunc(python, unicode.IsControl) {
			return "", "", badNeed(inPython, "python holds a control character")
		}
		fits, err := oneRequest(list, requires, "")
		return filepath.Clean(python), fits, err
	case pythonVersion.MatchString(python):
		if list == nil {
			return python, "", nil
		}
		exact := "==" + python
		if strings.Count(python, ".") == 1 {
			exact += ".*"
		}
		list = append(list, exact)
	default:
		asked, bad := readSpecifiers(python)
		if bad != "" {
			return "", "", badNeed(inPython, "python has %s, which is neither a version nor an absolute path", bad)
		}
		list = append(list, asked...)
	}
	request, err = oneRequest(list, requires, python)
	if m := exactClause.FindStringSubmatch(request); m != nil {
		request = strings.TrimSuffix(m[1], ".*")
	}
	return request, "", err
}

// readSpecifiers splits specifiers of Python's version, or says which part is none.
func readSpecifiers(text string) (list []string, bad string) {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if strings.TrimSpace(part) == "" && (len(parts) == 1 || i == len(parts)-1) {
			continue // none at all, or a comma at the end, which the specification allows
		}
		m := blanksInClause.FindStringSubmatch(part)
		if m == nil || !pythonClause.MatchString(m[1]+m[2]) {
			return nil, brief(strings.TrimSpace(part))
		}
		list = append(list, m[1]+m[2])
	}
	return list, ""
}

// oneRequest joins specifiers. Those that no version satisfies are refused here: the search for one would end in a download.
func oneRequest(list []string, requires, python string) (string, error) {
	slices.Sort(list)
	list = slices.Compact(list)
	joined := strings.Join(list, ",")
	c, err := semver.PyPI.ParseConstraint(joined)
	switch {
	case err != nil:
		return "", badNeed(inPython, "python cannot be read as specifiers of a version: %s", joined)
	case c.Set().Empty():
		return "", nothingFits(requires, python)
	}
	return joined, nil
}

func nothingFits(requires, python string) *rpc.Error {
	switch {
	case python == "":
		return badNeed(inScript, "no Python satisfies requires-python of the script, %s", brief(requires))
	case requires == "":
		return badNeed(inPython, "no Python satisfies %s", brief(python))
	}
	return badNeed(inPython, "python is %s, and the script requires %s: no Python is both", brief(python), brief(requires)).
		WithHint("leave python out, or name one that the script can do with")
}
