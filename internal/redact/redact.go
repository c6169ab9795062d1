// Package redact makes texts fit to be shown: without what gives access to something, and without characters that deceive the eye.
//
// Logs, errors, the pool's status and bug reports all go through it. A secret is told by its form or by the name before it; and what
// the environment and the configuration are seen to hold as a secret is taken out wherever it stands.
package redact

import (
	"cmp"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Mask stands where a secret was.
const Mask = "***"

// A Redactor knows the secrets that it has met. It is safe for concurrent use.
type Redactor struct {
	// After, if set, changes each text last. It is set before the first use.
	After func(string) string

	mu      sync.RWMutex
	literal []string // secrets, the longest first; replaced and never changed, since Text reads it without mu
}

// New returns a Redactor that knows the secrets in environ, which is like that of [os.Environ].
func New(environ []string) *Redactor {
	r := &Redactor{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if IsSecret(name) && !isPath(value) {
			r.learn(value)
		}
		r.Learn(value)
	}
	return r
}

// isPath says whether a value names a file, as that of API_KEY_FILE does.
func isPath(value string) bool {
	if !filepath.IsAbs(value) {
		return false
	}
	_, err := os.Lstat(value)
	return err == nil
}

var process = sync.OnceValue(func() *Redactor { return New(os.Environ()) })

// Text takes the secrets out of a text. It knows those of the environment of this process, and what [Learn] was given.
func Text(s string) string { return process().Text(s) }

// Texts is [Text] for each.
func Texts(texts []string) []string {
	shown := make([]string, 0, len(texts))
	for _, t := range texts {
		shown = append(shown, Text(t))
	}
	return shown
}

// Value is [Text] for the value of a variable, or of a member, with that name.
func Value(name, s string) string { return process().Value(name, s) }

// JSON is [Redactor.JSON] with what this process knows.
func JSON(raw []byte, indent bool) ([]byte, bool) { return process().JSON(raw, indent) }

// Learn has [Text] take out the passwords and tokens of the URLs in these texts wherever they stand.
func Learn(texts ...string) { process().Learn(texts...) }

// IsSecret says whether a variable, a member or a header with that name holds a secret.
func IsSecret(name string) bool { return secretName().MatchString(name) }

// Learn has r take out the passwords and tokens of the URLs in these texts wherever they stand.
func (r *Redactor) Learn(texts ...string) {
	for _, text := range texts {
		for _, u := range urlsIn(text) {
			name, password, both := strings.Cut(u.login, ":")
			if !both && isToken(name) {
				password = name
			}
			r.learn(password)
			r.learn(u.token)
			for _, m := range urlRules().query.FindAllStringSubmatch(u.query, -1) {
				if isToken(m[3]) && !harmlessQuery[strings.ToLower(m[2])] {
					r.learn(m[3])
				}
			}
		}
		if m := rules().bareLogin.FindStringSubmatch(text); m != nil {
			r.learn(m[2])
		}
	}
}

// isToken says whether a word that stands where a secret may be is one, and not "git" or "stable".
func isToken(word string) bool {
	return len(word) >= 16 || len(word) >= 8 && strings.ContainsAny(word, "0123456789")
}

// shortest is how long a secret must be to be looked for everywhere: "a" stands in every text, and "false" in many.
const shortest = 6

func (r *Redactor) learn(secret string) {
	if len(secret) < shortest || secret == Mask {
		return
	}
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	if plain, err := url.PathUnescape(secret); err == nil {
		forms = append(forms, plain, url.QueryEscape(plain), url.PathEscape(plain))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	literal := slices.Clone(r.literal)
	for _, s := range forms {
		if len(s) >= shortest && !slices.Contains(literal, s) {
			literal = append(literal, s)
		}
	}
	slices.SortStableFunc(literal, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	r.literal = literal
}

// Text takes the secrets out of a text that is no JSON.
func (r *Redactor) Text(s string) string {
	r.mu.RLock()
	literal := r.literal
	r.mu.RUnlock()
	for _, secret := range literal {
		s = replaceLiteral(s, secret)
	}
	s = byForm(s)
	if r.After != nil {
		s = r.After(s)
	}
	return s
}

// Value is Text for the value of a variable, or of a member, with that name.
func (r *Redactor) Value(name, s string) string {
	if s != "" && IsSecret(name) {
		return Mask
	}
	return r.Text(s)
}

// replaceLiteral leaves other words whole that a secret is a part of, where it could itself be a word.
func replaceLiteral(s, secret string) string {
	if len(secret) > 12 || strings.ContainsFunc(secret, func(c rune) bool { return !unicode.IsLower(c) }) {
		return strings.ReplaceAll(s, secret, Mask)
	}
	var b strings.Builder
	for {
		at := strings.Index(s, secret)
		if at < 0 {
			break
		}
		end := at + len(secret)
		b.WriteString(s[:at])
		if wordBefore(s[:at]) || wordAfter(s[end:]) {
			b.WriteString(secret)
		} else {
			b.WriteString(Mask)
		}
		s = s[end:]
	}
	return b.String() + s
}

func wordBefore(s string) bool {
	if n := len(s); n > 1 && s[n-2] == '\\' && strings.ContainsRune("nrt", rune(s[n-1])) {
		return false // an escape
	}
	c, _ := utf8.DecodeLastRuneInString(s)
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}

func wordAfter(s string) bool {
	c, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}
