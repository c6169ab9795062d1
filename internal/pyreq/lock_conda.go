package pyreq

import (
	"fmt"
	"strings"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/redact"
)

// A conda lock file is taken as rattler writes it, line by line: what YAML could say in other ways might be read by
// rattler as something that was not looked at here.
var (
	condaTop     = lazyregexp.New(`^(?:version: [0-9]+|platforms:|environments:|packages:)$`)
	condaOpening = lazyregexp.New(`^(?:- name: [a-z0-9-]+|  [A-Za-z0-9-]+:|    [a-z]+:|    - url: \S+|` +
		`      [a-z0-9-]+:|      - conda: \S+)$`)
	condaPackage = lazyregexp.New(`^- conda: (\S*/([A-Za-z0-9_.-]+)-([A-Za-z0-9_.!+]+)-[A-Za-z0-9_.]+` +
		`\.(?:conda|tar\.bz2))$`)
	condaMember = lazyregexp.New(`^  (?:([a-z_0-9]+):(?: .*)?|- .*|  .*)$`)
	condaHash   = lazyregexp.New(`^  sha256: [0-9a-f]{64}$`)
)

const condaForm = "it must be as runt pool lock prints it for a conda pool that rattler makes (conda.provider)"

// ReadCondaLock reads a lock file of rattler's, in which each package has a SHA-256. The error is a *LockError.
func ReadCondaLock(text string) (l Lock, err error) {
	var kept strings.Builder
	seen, first := map[string]bool{}, 0 // the keys of the top, and the line of the package that lacks its hash
	at, lines := "", strings.Split(plainText(text), "\n")
	bad := func(line int, format string, args ...any) (Lock, error) {
		return Lock{}, &LockError{line, fmt.Sprintf(format, args...), condaForm}
	}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kept.WriteString(line + "\n")
		m := condaPackage().FindStringSubmatch(line)
		switch top := condaTop().MatchString(line); {
		case strings.TrimSpace(line) == "@EXPLICIT":
			return bad(i+1, "begins a list of URLs for conda and micromamba, and only the form of rattler is taken")
		case top:
			if at, _, _ = strings.Cut(line, ":"); seen[at] {
				return bad(i+1, "begins %s again", at)
			}
			seen[at] = true
		case at != "packages" && !condaOpening().MatchString(line), at == "packages" && m == nil &&
			!(len(l.Entries) > 0 && condaMember().MatchString(line)):
			return bad(i+1, "%s cannot be read", brief(line))
		case at != "packages":
		case m != nil:
			if first > 0 {
				return bad(first, "%s has no sha256", brief(lines[first-1]))
			}
			first = i + 1
			l.Entries = append(l.Entries, Locked{Name: strings.ToLower(m[2]), Version: m[3], Requirement: m[1]})
		case strings.HasPrefix(line, "  sha256:"):
			if first == 0 || !condaHash().MatchString(line) {
				return bad(i+1, "%s is no single SHA-256", brief(line))
			}
			first = 0
		}
	}
	switch {
	case first > 0:
		return bad(first, "%s has no sha256", brief(lines[first-1]))
	case len(l.Entries) == 0:
		return bad(0, "names no package")
	}
	l.Conda = kept.String()
	for _, e := range l.Named("python") {
		if parts := strings.SplitN(e.Version, ".", 3); len(parts) > 1 {
			l.Python = parts[0] + "." + parts[1]
		}
	}
	return l, nil
}

// redacted are the lines of a text without secrets.
func redacted(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(redact.Text(line))
	}
	return b.String()
}
