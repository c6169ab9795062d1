package builder

import (
	"strings"

	"deps.dev/util/semver"
)

// Specifiers says whether what is wanted of a Python is version specifiers (PEP 440), and not a version or a path.
func Specifiers(want string) bool {
	return strings.ContainsAny(want, "<>=!~") && !strings.ContainsAny(want, `/\`)
}

// Satisfiable says whether some version is what specifiers want.
func Satisfiable(want string) bool {
	c, err := semver.PyPI.ParseConstraint(want)
	return err != nil || !c.Set().Empty() // what cannot be read is for uv to judge
}

// Satisfies says whether a Python of that version is what is wanted: specifiers, or a version of which the last parts may be left out.
// Empty is any.
func Satisfies(version, want string) bool {
	if !Specifiers(want) {
		return want == "" || version == want || strings.HasPrefix(version, want+".")
	}
	c, err := semver.PyPI.ParseConstraint(want)
	return err == nil && c.Match(version)
}
