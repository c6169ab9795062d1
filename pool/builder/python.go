package builder

import (
	"strings"

	"deps.dev/util/semver"
)

// Specifiers reports whether want is version specifiers (PEP 440), and not a version or a path.
func Specifiers(want string) bool {
	return strings.ContainsAny(want, "<>=!~") && !strings.ContainsAny(want, `/\`)
}

// Satisfiable reports whether any version meets the specifiers.
func Satisfiable(want string) bool {
	c, err := semver.PyPI.ParseConstraint(want)
	return err != nil || !c.Set().Empty() // uv judges what we cannot parse
}

// Satisfies reports whether a Python version meets want: specifiers, or a version that may leave out its last parts.
// Empty is any.
func Satisfies(version, want string) bool {
	if !Specifiers(want) {
		return want == "" || version == want || strings.HasPrefix(version, want+".")
	}
	c, err := semver.PyPI.ParseConstraint(want)
	return err == nil && c.Match(version)
}
