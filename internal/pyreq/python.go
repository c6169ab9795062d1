package pyreq

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"deps.dev/util/semver"

	"runtimed/internal/lazyregexp"
)

var (
	pythonVersion = lazyregexp.New(`^3\.[0-9]{1,3}(\.[0-9]{1,3})?$`)
	exactClause   = lazyregexp.New(`^==(3\.[0-9]{1,3}(?:\.[0-9]{1,3}|\.\*))$`)
	pythonClause  = lazyregexp.New(`^(?:(?:==|!=)` + release + `\.\*|(?:==|!=|<=|>=|<|>)` + release + pre +
		`|~=[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}` + pre + `)$`)
	blanksInClause = lazyregexp.New(`^\s*(~=|==|!=|<=|>=|<|>)\s*(\S+)\s*$`)
)

const (
	release = `[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}`
	pre     = `(?:(?:a|b|rc)[0-9]{1,3})?`
)

// readPython joins python and requires-python into one version, or specifiers in one order. For an absolute path,
// the specifiers stay apart.
func readPython(python, requires string) (request, requiresPython string, err error) {
	list, part := readSpecifiers(requires)
	if part != "" {
		return "", "", badWith(inScript, `write it like ">=3.11" or ">=3.11,<3.14"`,
			"requires-python of the script has %s, which is not a version specifier", part)
	}
	switch {
	case filepath.IsAbs(python):
		if strings.ContainsFunc(python, unicode.IsControl) {
			return "", "", bad(inPython, "", "python holds a control character")
		}
		requiresPython, err := oneRequest(list, requires, "")
		return filepath.Clean(python), requiresPython, err
	case pythonVersion().MatchString(python):
		if list == nil {
			return python, "", nil
		}
		exact := "==" + python
		if strings.Count(python, ".") == 1 {
			exact += ".*"
		}
		list = append(list, exact)
	default:
		asked, part := readSpecifiers(python)
		if part != "" {
			return "", "", bad(inPython, "", "python has %s, which is neither a version nor an absolute path", part)
		}
		list = append(list, asked...)
	}
	request, err = oneRequest(list, requires, python)
	if m := exactClause().FindStringSubmatch(request); m != nil {
		request = strings.TrimSuffix(m[1], ".*")
	}
	return request, "", err
}

func readSpecifiers(text string) (list []string, wrong string) {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if strings.TrimSpace(part) == "" && (len(parts) == 1 || i == len(parts)-1) {
			continue // the specification allows a comma at the end
		}
		m := blanksInClause().FindStringSubmatch(part)
		if m == nil || !pythonClause().MatchString(m[1]+m[2]) {
			return nil, brief(strings.TrimSpace(part))
		}
		list = append(list, m[1]+m[2])
	}
	return list, ""
}

// oneRequest refuses specifiers that no version satisfies: the search for one would end in a download.
func oneRequest(list []string, requires, python string) (string, error) {
	slices.Sort(list)
	list = slices.Compact(list)
	joined := strings.Join(list, ",")
	c, err := semver.PyPI.ParseConstraint(joined)
	switch {
	case err != nil:
		return "", bad(inPython, "", "python cannot be read as specifiers of a version: %s", joined)
	case c.Set().Empty():
		return "", nothingFits(requires, python)
	}
	return joined, nil
}

func nothingFits(requires, python string) *Error {
	switch {
	case python == "":
		return bad(inScript, "", "no Python satisfies requires-python of the script, %s", brief(requires))
	case requires == "":
		return bad(inPython, "", "no Python satisfies %s", brief(python))
	}
	return badWith(inPython, "leave python out, or name one that the script can do with",
		"python is %s, and the script requires %s: no Python is both", brief(python), brief(requires))
}
