package config

import (
	"fmt"
	"strings"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/pyreq"
	"runtimed/internal/redact"
)

// Packages go onto lines of requirement files, where a leading dash is an option, " #" a comment and a last
// backslash joins lines.
var (
	requirement = lazyregexp.New(`^` + project + `\s*(\[[A-Za-z0-9._,\s-]*\])?\s*` +
		`(@\s*[^\s;]+|\(?\s*` + clause + `(\s*,\s*` + clause + `)*\s*\)?)?\s*(;.+)?$`)
	matchSpec = lazyregexp.New(`^([A-Za-z0-9._/-]+::)?` + project + `([ =<>!~\[].*)?$`)
	leadName  = lazyregexp.New(`^([A-Za-z0-9._/-]+::)?(` + project + `)`)
)

const (
	project = `[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?`
	clause  = `(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+`
)

const maxPackage = 1000 // bytes

func checkPackages(packages []string, kind string) string {
	form := requirement
	if kind == KindConda {
		form = matchSpec
	}
	for _, s := range packages {
		if len(s) > maxPackage || hasControl(s) || !form().MatchString(s) || strings.HasSuffix(s, `\`) ||
			strings.Contains(s, " #") || strings.Contains(s, " -") {
			return fmt.Sprintf("each must be a requirement like \"numpy\" or \"numpy>=2\", got %s",
				show(redact.Text(s)))
		}
	}
	return ""
}

// names: 'IPyKernel[x] >= 6' is for ipykernel.
func names(packages []string, project string) bool {
	for _, s := range packages {
		if m := leadName().FindStringSubmatch(s); m != nil && pyreq.NormalName(m[2]) == project {
			return true
		}
	}
	return false
}
