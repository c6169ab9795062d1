package bugreport

import (
	"cmp"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"

	"runtimed/internal/redact"
)

// whoRuns is the home directory and the name of whoever runs us.
func whoRuns() (home, name string) {
	home, _ = os.UserHomeDir()
	if u, err := user.Current(); err == nil {
		_, after, _ := strings.Cut(u.Username, `\`) // DOMAIN\name on Windows
		name = cmp.Or(after, u.Username)
	}
	return home, name
}

// anonymous also takes out the home directory and the name of the user, who is to send the report to strangers.
func anonymous(environ []string, home, name string) *redact.Redactor {
	var homes []*regexp.Regexp
	if home != "" && filepath.Dir(home) != home {
		forms := []string{home}
		if real, err := filepath.EvalSymlinks(home); err == nil {
			forms = append(forms, real)
		}
		for _, form := range forms {
			homes = append(homes, regexp.MustCompile(regexp.QuoteMeta(form)+`\b`))
		}
	}
	var who *regexp.Regexp
	if len(name) > 2 && name != "root" { // it is in other paths too, and in the name of a pipe
		who = regexp.MustCompile(`([/\\]|runtimed-)` + regexp.QuoteMeta(name) + `\b`)
	}
	r := redact.New(environ)
	r.After = func(s string) string {
		for _, home := range homes {
			s = home.ReplaceAllString(s, "~")
		}
		if who != nil {
			s = who.ReplaceAllString(s, "${1}USER")
		}
		return s
	}
	return r
}
