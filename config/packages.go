package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Packages go onto lines of requirement files, where a leading dash is an option, " #" a comment and a
// last backslash joins lines. So each must look like what it is meant to be, and nothing else.
var (
	requirement = regexp.MustCompile(`^` + project + `\s*(\[[A-Za-z0-9._,\s-]*\])?\s*` +
		`(@\s*[^\s;]+|\(?\s*` + clause + `(\s*,\s*` + clause + `)*\s*\)?)?\s*(;.+)?$`)
	matchSpec = regexp.MustCompile(`^([A-Za-z0-9._/-]+::)?` + project + `([ =<>!~\[].*)?$`)
	leadName  = regexp.MustCompile(`^([A-Za-z0-9._/-]+::)?(` + project + `)`)
	separator = regexp.MustCompile(`[-_.]+`)
	login     = regexp.MustCompile(`://[^/\s]+@`) // of a URL, which no error shall show
)

const (
	project = `[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?`
	clause  = `(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+`
)

const maxPackage = 1000 // bytes

func checkPackages(packages []string, kind string) string {
	for _, s := range packages {
		form := requirement
		if kind == KindConda {
			form = matchSpec
		}
		if len(s) > maxPackage || hasControl(s) || !form.MatchString(s) || strings.HasSuffix(s, `\`) ||
			strings.Contains(s, " #") || strings.Contains(s, " -") {
			return fmt.Sprintf("each must be a requirement like \"numpy\" or \"numpy>=2\", got %s", show(login.ReplaceAllString(s, "://***@")))
		}
	}
	return ""
}

// names tells whether a requirement is for that project; 'IPyKernel[x] >= 6' is for ipykernel.
func names(packages []string, project string) bool {
	for _, s := range packages {
		if m := leadName.FindStringSubmatch(s); m != nil && normalised(m[2]) == project {
			return true
		}
	}
	return false
}

func normalised(name string) string {
	return strings.ToLower(separator.ReplaceAllString(name, "-"))
}
