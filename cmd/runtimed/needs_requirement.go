package main

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"runtimed/pool"
)

// Requirements end up on lines of a requirements file, where a dash begins an option, " #" a comment and a last backslash joins
// lines. So each must look like what it is meant to be. What the look leaves open (versions, markers) is for uv to judge.
var (
	requirementName = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*`)
	requirementURL  = regexp.MustCompile(`^@\s*(\S*[^\s;])(?:\s+;(.+)|;\s+(.+))?$`)
	versionClauses  = regexp.MustCompile(`^` + clauses + `$|^\(` + clauses + `\)$`)
	remoteURL       = regexp.MustCompile(`^(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|git)://[^/\s]`)
	variableInText  = regexp.MustCompile(`\$\{[A-Za-z0-9_]+\}`)
	archive         = regexp.MustCompile(`(?i)\.(?:whl|zip|tar|tgz|tbz|txz|tlz|tar\.[a-z0-9]+)$`) // pip and uv take it for a path
	markerToken     = regexp.MustCompile(`"[^"]*"|'[^']*'|===|[<>=!~]=|[<>()]|[A-Za-z_][A-Za-z0-9_.]*`)
)

const (
	clause  = `\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*`
	clauses = `(?:` + clause + `(?:,` + clause + `)*,?\s*)?`
)

// readRequirement is a requirement of PEP 508 in the one form that all ways of writing it have, or what is wrong with it.
func readRequirement(text string) (r, problem string) {
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
	case variableInText.MatchString(text):
		return "", "has a variable in it; the daemon has others than you, so put in what it stands for"
	case strings.HasSuffix(text, `\`):
		return "", `ends with a \`
	case remoteURL.MatchString(text):
		return "", "is a URL without a name; write it as NAME @ URL"
	case isPath(text):
		return "", "is a path; what is there may change, so install it into the environment once you have it"
	}
	m := requirementName.FindStringSubmatch(text)
	if m == nil {
		return "", "does not begin with the name of a package"
	}
	name, extras, rest := pool.NormalName(m[1]), canonicalExtras(m[2]), text[len(m[0]):]
	var marker string
	if strings.HasPrefix(rest, "@") {
		u := requirementURL.FindStringSubmatch(rest)
		if u == nil || !strings.ContainsAny(u[1], ":/\\") && !versionAfterAt.MatchString(text) && !latestAfterAt.MatchString(text) {
			return "", "has no URL behind the @"
		}
		if versionAfterAt.MatchString(text) || latestAfterAt.MatchString(text) {
			return "", "has a version behind an @, where a URL belongs"
		}
		if !remoteURL.MatchString(u[1]) {
			return "", "is to be found at a place that is not on the network; install it into the environment once you have it"
		}
		rest, marker = " @ "+u[1], u[2]+u[3]
	} else {
		rest, marker, _ = strings.Cut(rest, ";")
		if rest = strings.TrimSpace(rest); !versionClauses.MatchString(rest) {
			return "", "has something behind the name that is no version"
		}
		rest = canonicalClauses(strings.Trim(rest, "()"))
	}
	if strings.Contains(marker, " #") || strings.Contains(marker, " -") || strings.Contains(marker, ";") {
		return "", "has something behind it that is no marker"
	}
	r = name + extras + rest
	if marker = canonicalMarker(marker); marker != "" {
		if strings.HasPrefix(rest, " @") {
			r += " "
		}
		r += "; " + marker
	}
	return r, ""
}

// isPath tells what would be a file or folder of the daemon's working directory, or of the whole machine.
func isPath(text string) bool {
	if strings.ContainsRune(`./~\`, rune(text[0])) || strings.HasPrefix(text, "file:") || len(text) > 1 && text[1] == ':' {
		return true
	}
	first, rest := text, ""
	if at := strings.IndexAny(text, " [@;<>=!~("); at >= 0 {
		first, rest = text[:at], text[at:]
	}
	alone := rest == "" || rest[0] == '[' // else it is the name of a package
	return strings.ContainsAny(first, `/\`) || alone && archive.MatchString(first)
}

func canonicalExtras(text string) string {
	var extras []string
	for e := range strings.SplitSeq(text, ",") {
		if e = strings.TrimSpace(e); e != "" {
			extras = append(extras, pool.NormalName(e))
		}
	}
	if len(extras) == 0 {
		return ""
	}
	slices.Sort(extras)
	return "[" + strings.Join(slices.Compact(extras), ",") + "]"
}

func canonicalClauses(text string) string {
	var list []string
	for c := range strings.SplitSeq(text, ",") {
		if c = strings.Join(strings.Fields(c), ""); c != "" {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

// canonicalMarker has single blanks and double quotes. What it does not know it leaves as it is, for uv to name it.
func canonicalMarker(text string) string {
	text = strings.TrimSpace(text)
	var tokens []string
	end := 0
	for _, at := range markerToken.FindAllStringIndex(text, -1) {
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
