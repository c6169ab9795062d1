package pyreq

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"deps.dev/util/semver"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/redact"
)

// MaxLock is how long a lock file may be, in bytes. One of 500 distributions has half of that.
const MaxLock = 4 << 20

// Lock is a lock file: each distribution in one version, with the hashes of its files.
type Lock struct {
	Python   string // the one version that it is for, as in "3.12"; empty: it does not say
	Platform string // the same for the kind of machine, as in "linux-amd64"
	Entries  []Locked
	Conda    string // the whole text, if it is of a conda pool: see ReadCondaLock
}

// Locked is one distribution in a lock file.
type Locked struct {
	Requirement string // in one form: "numpy==2.1.0; MARKER" or "numpy @ URL"
	Name        string
	Version     string   // empty for a URL
	Hashes      []string // sorted: "sha256:…"
}

// LockError says which line of a lock file is wrong.
type LockError struct {
	Line       int // from 1; 0: none is
	Says, Hint string
}

func (e *LockError) Error() string { return fmt.Sprintf("line %d %s", e.Line, e.Says) }

var (
	lockFor      = lazyregexp.New(`^# runt pool lock, for Python (3\.[0-9]{1,3}) on ([a-z0-9]+-[a-z0-9_]+)$`)
	firstHash    = lazyregexp.New(`\s--hash(?:=|\s|$)`)
	oneHash      = lazyregexp.New(`^--hash(?:=|\s+)(\S+)(?:\s+|$)`)
	hashForm     = lazyregexp.New(`^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$`)
	exactly      = lazyregexp.New(`^([a-z0-9-]+)(?:\[[^\]]*\])?={2,3}([^*,;\s]+)(?:; .*)?$`)
	atURL        = lazyregexp.New(`^([a-z0-9-]+)(?:\[[^\]]*\])? @ (\S+)(?:; .*| ; .*)?$`)
	localURL     = lazyregexp.New(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*@\s*(file:///\S+?)\s*$`)
	finalVersion = lazyregexp.New(`^[0-9.]+$`)
	indexOption  = lazyregexp.New(`^(?:-i|--index-url|--extra-index-url|-f|--find-links)(?:[=\s]|$)`)
)

const (
	lockForm = "each line is NAME==VERSION with its --hash, as runt pool lock writes it, and uv pip compile " +
		"--generate-hashes"
	noHash = "has no --hash, and each line needs one, so that what is installed is what was locked"
)

// ReadLock reads a lock file. Where the packages come from is the daemon's business, so lines that name an index are
// passed over; any other option is refused. whole means that each line has a hash. The error is a *LockError.
func ReadLock(text string, whole bool) (l Lock, err error) {
	if at := strings.IndexByte(text, 0); at >= 0 {
		return l, &LockError{lineAt(text, at), "holds a NUL byte, which no lock file has", lockForm}
	}
	lines := strings.Split(pipBreak.Replace(plainText(text)), "\n")
	for _, line := range lines {
		if m := lockFor().FindStringSubmatch(line); m != nil {
			l.Python, l.Platform = m[1], m[2]
		}
	}
	for _, line := range joinedLines(lines) {
		line.text = strings.TrimSpace(comment().ReplaceAllString(line.text, ""))
		if line.text == "" || indexOption().MatchString(line.text) {
			continue
		}
		e, says := readLocked(line.text)
		if says == "" && whole && len(e.Hashes) == 0 {
			says = noHash
		}
		if says != "" {
			return Lock{}, &LockError{line.number, brief(line.text) + " " + says, lockHint(line.text)}
		}
		l.Entries = append(l.Entries, e)
	}
	if len(l.Entries) == 0 {
		return Lock{}, &LockError{0, "names no package", lockForm}
	}
	slices.SortFunc(l.Entries, func(a, b Locked) int { return strings.Compare(a.Requirement, b.Requirement) })
	l.Entries = slices.CompactFunc(l.Entries, func(a, b Locked) bool {
		return a.Requirement == b.Requirement && slices.Equal(a.Hashes, b.Hashes)
	})
	return l, nil
}

func lockHint(text string) string {
	if strings.HasPrefix(text, "-") {
		return "leave it out; the index and what belongs to it come from the daemon's configuration"
	}
	return lockForm
}

// readLocked reads one line, or says what is wrong with it.
func readLocked(text string) (e Locked, says string) {
	rest := ""
	if at := firstHash().FindStringIndex(text); at != nil {
		text, rest = text[:at[0]], strings.TrimSpace(text[at[0]:])
	}
	if m := localURL().FindStringSubmatch(text); m != nil {
		e.Requirement = NormalName(m[1]) + " @ " + m[2]
	} else if e.Requirement, says = readRequirement(text); says != "" {
		return e, says
	}
	for rest != "" {
		m := oneHash().FindStringSubmatch(rest)
		if m == nil {
			return e, "has something beside its hashes"
		}
		hash := strings.ToLower(m[1])
		if !hashForm().MatchString(hash) {
			return e, "has " + brief(m[1]) + " for a hash; it must be a SHA-256, SHA-384 or SHA-512 in full"
		}
		e.Hashes, rest = append(e.Hashes, hash), rest[len(m[0]):]
	}
	slices.Sort(e.Hashes)
	e.Hashes = slices.Compact(e.Hashes)
	if m := exactly().FindStringSubmatch(e.Requirement); m != nil {
		e.Name, e.Version = m[1], m[2]
	} else if m := atURL().FindStringSubmatch(e.Requirement); m != nil {
		e.Name = m[1]
	} else {
		return e, "names no single version; write it as NAME==VERSION"
	}
	return e, ""
}

// Named are the entries of one distribution: there are several where markers choose.
func (l Lock) Named(name string) (list []Locked) {
	for _, e := range l.Entries {
		if e.Name == name {
			list = append(list, e)
		}
	}
	return list
}

// Lacks says why what is locked is not what a requirement asks for; empty if it is.
func (l Lock) Lacks(requirement string) string {
	r, problem := readRequirement(requirement)
	m := requirementName().FindStringSubmatch(r)
	if problem != "" || m == nil {
		return "" // whoever reads the requirement says so
	}
	has := l.Named(m[1])
	if len(has) == 0 {
		return "has no " + m[1]
	}
	want, _, _ := strings.Cut(r[len(m[0]):], ";")
	c, err := semver.PyPI.ParseConstraint(want)
	if want == "" || strings.HasPrefix(want, "@") || err != nil {
		return ""
	}
	for _, e := range has {
		if !finalVersion().MatchString(e.Version) || c.Match(e.Version) { // of others the library has its own opinion
			return ""
		}
	}
	return "has " + m[1] + " " + has[0].Version
}

// Hash names what is locked. It is the same however a file orders and comments it, and whatever credentials are in it.
func (l Lock) Hash() string { return LockHash(l.Shown()) }

// LockHash is the hash of a lock file as it is shown.
func LockHash(shown string) string {
	sum := sha256.Sum256([]byte(shown))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Text is the lock file in one form, as its tool reads it.
func (l Lock) Text() string {
	if l.Conda != "" {
		return l.Conda
	}
	return l.text(func(s string) string { return s })
}

// Shown is Text without credentials.
func (l Lock) Shown() string {
	if l.Conda != "" {
		return redacted(l.Conda)
	}
	return l.text(withoutLogin)
}

func (l Lock) text(shown func(string) string) string {
	var b strings.Builder
	if l.Python != "" {
		fmt.Fprintf(&b, "# runt pool lock, for Python %s on %s\n", l.Python, l.Platform)
	}
	for _, e := range l.Entries {
		b.WriteString(shown(e.Requirement))
		for _, h := range e.Hashes {
			b.WriteString(" \\\n    --hash=" + h)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func withoutLogin(requirement string) string {
	m := atURL().FindStringSubmatch(requirement)
	if m == nil {
		return requirement
	}
	bare := m[2]
	if u, err := url.Parse(bare); err == nil && u.User != nil && u.Scheme != "git+ssh" {
		u.User = nil
		bare = u.String()
	}
	return strings.Replace(requirement, m[2], redact.Text(bare), 1)
}
