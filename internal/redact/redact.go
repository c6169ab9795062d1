// Package redact makes texts fit to be shown: without secrets, and without characters that deceive the eye.
//
// It knows a secret by its form or by the name before it. The secrets of the environment and of the configuration
// are masked wherever they appear.
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

// Mask replaces a secret.
const Mask = "***"

// A Redactor masks the secrets that it has learnt. It is safe for concurrent use.
type Redactor struct {
	// After, if set, changes each text last. Set it before the first use.
	After func(string) string

	mu      sync.RWMutex
	literal []string // secrets, longest first; never changed in place, since Text reads it without mu
}

// New returns a Redactor that knows the secrets in environ, in the form of [os.Environ].
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

func isPath(value string) bool {
	if !filepath.IsAbs(value) {
		return false
	}
	_, err := os.Lstat(value)
	return err == nil
}

var process = sync.OnceValue(func() *Redactor { return New(os.Environ()) })

// Text masks the secrets in a text, also those of this process's environment and those given to [Learn].
func Text(s string) string { return process().Text(s) }

// Texts is [Text] for each.
func Texts(texts []string) []string {
	shown := make([]string, 0, len(texts))
	for _, t := range texts {
		shown = append(shown, Text(t))
	}
	return shown
}

// Value is [Text] for the value of a variable or member with that name.
func Value(name, s string) string { return process().Value(name, s) }

// JSON is [Redactor.JSON] with the secrets of this process.
func JSON(raw []byte, indent bool) ([]byte, bool) { return process().JSON(raw, indent) }

// Learn has [Text] mask the passwords and tokens of the URLs in texts wherever they appear.
func Learn(texts ...string) { process().Learn(texts...) }

// IsSecret reports whether a variable, member or header with that name holds a secret.
func IsSecret(name string) bool { return secretName().MatchString(name) }

func (r *Redactor) Learn(texts ...string) {
	for _, text := range texts {
		for _, u := range urlsIn(text) {
			name, password, both := strings.Cut(u.login, ":")
			if !both && isToken(name) {
				password = name
			}
			r.learn(password)
			r.learn(u.token)
			for _, m := range urlQuery().FindAllStringSubmatch(u.query, -1) {
				if isToken(m[3]) && !harmlessQuery[strings.ToLower(m[2])] {
					r.learn(m[3])
				}
			}
		}
		if m := bareLogin().FindStringSubmatch(text); m != nil {
			r.learn(m[2])
		}
	}
}

// isToken reports whether a word where a secret may be is one, and not "git" or "stable".
func isToken(word string) bool {
	return len(word) >= 16 || len(word) >= 8 && strings.ContainsAny(word, "0123456789")
}

// Shorter secrets are not masked everywhere: "a" is in every text, and "false" in many.
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

// Text masks the secrets in a text that is not JSON.
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

func (r *Redactor) Value(name, s string) string {
	if s != "" && IsSecret(name) {
		return Mask
	}
	return r.Text(s)
}

// replaceLiteral leaves other words whole that contain secret, if secret could be a word.
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
