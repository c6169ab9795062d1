package pyreq

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"runtimed/internal/lazyregexp"
)

// Requirements end up on lines of a requirements file, where a dash begins an option, " #" a comment, and a last
// backslash joins lines. uv checks versions and markers. Written by hand: no Go library reads PEP 508.
var (
	requirementName = lazyregexp.New(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*`)
	requirementURL  = lazyregexp.New(`^@\s*(\S*[^\s;])(?:\s+;(.+)|;\s+(.+))?$`)
	versionClauses  = lazyregexp.New(`^` + clauses + `$|^\(` + clauses + `\)$`)
	remoteURL       = lazyregexp.New(`^(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|git)://[^/\s]`)
	variableInText  = lazyregexp.New(`\$\{[A-Za-z0-9_]+\}`)
	archive         = lazyregexp.New(`(?i)\.(?:whl|zip|tar|tgz|tbz|txz|tlz|tar\.[a-z0-9]+)$`) // a path to pip and uv
	markerToken     = lazyregexp.New(`"[^"]*"|'[^']*'|===|[<>=!~]=|[<>()]|[A-Za-z_][A-Za-z0-9_.]*`)
)

const (
	clause  = `\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*`
	clauses = `(?:` + clause + `(?:,` + clause + `)*,?\s*)?`
)

// NormalName is the name of a distribution in its one spelling (PEP 503).
func NormalName(name string) string { return strings.ToLower(nameRuns().ReplaceAllString(name, "-")) }

var nameRuns = lazyregexp.New(`[-_.]+`)

// readRequirement returns a requirement (PEP 508) in one form, or what is wrong with it.
func readRequirement(text string) (requirement, problem string) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\t", " "))
	switch {
	case text == "":
		return "", "has no name"
	case !utf8.ValidString(text):
		return "", "is not UTF-8"
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", "holds a control character"
	case text[0] == '-':
		return "", "is an option, and only requirements are taken"
	case variableInText().MatchString(text):
		return "", "has a variable in it; the daemon has others than you, so put in what it stands for"
	case strings.HasSuffix(text, `\`):
		return "", `ends with a \`
	case remoteURL().MatchString(text):
		return "", "is a URL without a name; write it as NAME @ URL"
	case isPath(text):
		return "", "is a path; what is there may change, so install it into the environment once you have it"
	}
	m := requirementName().FindStringSubmatch(text)
	if m == nil {
		return "", "does not begin with the name of a package"
	}
	r, rest, marker := NormalName(m[1]), text[len(m[0]):], ""
	if extras := canonicalList(m[2], NormalName); extras != "" {
		r += "[" + extras + "]"
	}
	if strings.HasPrefix(rest, "@") {
		u := requirementURL().FindStringSubmatch(rest)
		switch {
		case u != nil && (versionAfterAt().MatchString(text) || latestAfterAt().MatchString(text)):
			return "", "has a version behind an @, where a URL belongs"
		case u == nil || !strings.ContainsAny(u[1], ":/\\"):
			return "", "has no URL behind the @"
		case !remoteURL().MatchString(u[1]):
			return "", "is to be found at a place that is not on the network; " +
				"install it into the environment once you have it"
		}
		rest, marker = " @ "+u[1], u[2]+u[3]
	} else {
		rest, marker, _ = strings.Cut(rest, ";")
		if rest = strings.TrimSpace(rest); !versionClauses().MatchString(rest) {
			return "", "has something behind the name that is not a version"
		}
		rest = canonicalList(strings.Trim(rest, "()"), withoutBlanks)
	}
	if strings.Contains(marker, " #") || strings.Contains(marker, " -") || strings.Contains(marker, ";") {
		return "", "has something behind it that is not a marker"
	}
	r += rest
	if marker = canonicalMarker(marker); marker != "" {
		if strings.HasPrefix(rest, " @") {
			r += " "
		}
		r += "; " + marker
	}
	return r, ""
}

func isPath(text string) bool {
	if strings.ContainsRune(`./~\`, rune(text[0])) || strings.HasPrefix(text, "file:") || len(text) > 1 &&
		text[1] == ':' {
		return true
	}
	first, rest := text, ""
	if at := strings.IndexAny(text, " [@;<>=!~("); at >= 0 {
		first, rest = text[:at], text[at:]
	}
	alone := rest == "" || rest[0] == '[' // else it is the name of a package
	return strings.ContainsAny(first, `/\`) || alone && archive().MatchString(first)
}

func canonicalList(text string, canonical func(string) string) string {
	var list []string
	for member := range strings.SplitSeq(text, ",") {
		if member = canonical(strings.TrimSpace(member)); member != "" {
			list = append(list, member)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

func withoutBlanks(text string) string { return strings.ReplaceAll(text, " ", "") }

// canonicalMarker has single blanks and double quotes.
func canonicalMarker(text string) string {
	text = strings.TrimSpace(text)
	var tokens []string
	end := 0
	for _, at := range markerToken().FindAllStringIndex(text, -1) {
		if strings.TrimSpace(text[end:at[0]]) != "" {
			return text
		}
		token := text[at[0]:at[1]]
		if token[0] == '\'' && !strings.Contains(token, `"`) {
			token = `"` + token[1:len(token)-1] + `"`
		}
		tokens, end = append(tokens, token), at[1]
	}
	if strings.TrimSpace(text[end:]) != "" {
		return text
	}
	return strings.Join(tokens, " ")
}
