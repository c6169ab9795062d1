package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const redacted = "***"

var (
	// Up to the last @, and with slashes, which a password should not have: what is taken out too much by that is no loss.
	urlLogin = regexp.MustCompile(`(://)(?:[^/\s"@]*:[^\s"]*|[^/\s"]*)@`)
	urlUser  = regexp.MustCompile(`://([^/\s"]*)@`)
	// Quoted as a part of another URL, and without a scheme, as a proxy may be given.
	quotedLogin = regexp.MustCompile(`(?i)(%3A(?:%2F){2})[^/\s"'&]*%40`)
	bareLogin   = regexp.MustCompile(`(^|[\s"'=(/])[\w.%+~-]+:[^\s"'/@]+@([\w.-]+:\d|[\w-]+\.[\w.-]+|localhost)`)
	urlToken    = regexp.MustCompile(`(/t/)[^/\s"']+`) // where conda channels have theirs

	secretWord = `(?:tokens?(?:\b|[_\d])|passw(?:or)?d|passphrase|secret|credential|authorization|cookie|api_?key|` +
		`signature|\bsig\b|\w[-_.](?:key|pass|pwd|auth)s?\b)`
	secretName = regexp.MustCompile(`(?i)` + secretWord + `|^uv_index_.*_username$`)
	// NAME=value, "name": "value", name = 'value', --name value; the quotes may themselves be quoted.
	assigned = regexp.MustCompile(`(?i)([\w.-]*` + secretWord + `[\w.-]*(?:\\*["'])?\s*[=:]\s*|--[\w-]*` + secretWord + `[\w-]*(?:\s+|["'],\s*)|` +
		`[?&](?:key|auth)=|\bpass=)` +
		`(?:(?:bearer|basic|token)\s+)?(?:(\\+")[^"]*"|(")(?:[^"\\]|\\.)*"|(')[^']*'|[^\s"',;&}]+)`)
	netrc  = regexp.MustCompile(`(?i)(\b(?:login|account)\s+)\S+(\s+password\s+)\S+`)
	pem    = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\z)`)
	bearer = regexp.MustCompile(`(?i)\b(bearer\s+)[\w.~+/=-]{6,}`)
	// Tokens that are known by their form.
	token = regexp.MustCompile(`\b(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|pypi-[\w-]{16,}|hf_\w{16,}|npm_\w{16,}|` +
		`xox[a-z]-[\w-]{10,}|AIza[\w-]{30,}|AKCp\w{16,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)`)
)

// redaction takes secrets out of texts: what looks like one, and wherever it stands what was seen as one before.
type redaction struct {
	literal []string // secrets, the longest first
	homes   []*regexp.Regexp
	user    *regexp.Regexp
}

// whoRuns is the home directory and the name of whoever runs us.
func whoRuns() (home, name string) {
	home, _ = os.UserHomeDir()
	if u, err := user.Current(); err == nil {
		_, after, _ := strings.Cut(u.Username, `\`) // DOMAIN\name on Windows
		name = cmp.Or(after, u.Username)
	}
	return home, name
}

func newRedaction(environ []string, home, name string) *redaction {
	r := &redaction{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if secretName.MatchString(name) {
			r.learn(value)
		}
		r.learnURLs(value)
	}
	if home != "" && filepath.Dir(home) != home {
		forms := []string{home}
		if real, err := filepath.EvalSymlinks(home); err == nil {
			forms = append(forms, real)
		}
		for _, form := range forms {
			r.homes = append(r.homes, regexp.MustCompile(regexp.QuoteMeta(form)+`\b`))
		}
	}
	if len(name) > 2 && name != "root" { // it is in other paths too, and in the name of a pipe
		r.user = regexp.MustCompile(`([/\\]|runtimed-)` + regexp.QuoteMeta(name) + `\b`)
	}
	return r
}

// shortest is how long a secret must be to be looked for everywhere: "a" stands in every text, and "false" in many.
const shortest = 6

func (r *redaction) learn(secret string) {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	if plain, err := url.PathUnescape(secret); err == nil {
		forms = append(forms, plain)
	}
	for _, s := range forms {
		if len(s) >= shortest && !slices.Contains(r.literal, s) {
			r.literal = append(r.literal, s)
		}
	}
	slices.SortStableFunc(r.literal, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// learnURLs learns the passwords and tokens of the URLs in a text.
func (r *redaction) learnURLs(text string) {
	for _, m := range urlUser.FindAllStringSubmatch(text, -1) {
		name, password, both := strings.Cut(m[1], ":")
		if !both && len(name) >= 16 { // a token alone, and not "git"
			password = name
		}
		r.learn(password)
	}
	for _, m := range urlToken.FindAllString(text, -1) {
		r.learn(strings.TrimPrefix(m, "/t/"))
	}
}

// text redacts what is no JSON.
func (r *redaction) text(s string) string {
	for _, secret := range r.literal {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	s = urlLogin.ReplaceAllString(s, "${1}"+redacted+"@")
	s = quotedLogin.ReplaceAllString(s, "${1}"+redacted+"%40")
	s = bareLogin.ReplaceAllString(s, "${1}"+redacted+"@${2}")
	s = urlToken.ReplaceAllString(s, "${1}"+redacted)
	s = netrc.ReplaceAllString(s, "${1}"+redacted+"${2}"+redacted)
	s = pem.ReplaceAllString(s, "${1}"+redacted+"${2}")
	s = assigned.ReplaceAllString(s, "${1}${2}${3}${4}"+redacted+"${2}${3}${4}")
	s = bearer.ReplaceAllString(s, "${1}"+redacted)
	s = token.ReplaceAllString(s, redacted)
	for _, home := range r.homes {
		s = home.ReplaceAllString(s, "~")
	}
	if r.user != nil {
		s = r.user.ReplaceAllString(s, "${1}USER")
	}
	return s
}

// value is text for the value of a variable or a member of that name.
func (r *redaction) value(name, s string) string {
	if s != "" && secretName.MatchString(name) {
		return redacted
	}
	return r.text(s)
}

// json redacts each string of a value, so that escapes hide nothing and it stays JSON. Numbers under a secret's name go too.
func (r *redaction) json(raw []byte, indent bool) ([]byte, bool) {
	var out bytes.Buffer
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), jsontext.Multiline(indent))
	name := ""
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return bytes.TrimSuffix(out.Bytes(), []byte("\n")), out.Len() > 0 && errors.Is(err, io.EOF)
		}
		kind, n := dec.StackIndex(dec.StackDepth())
		isName := kind == '{' && n%2 == 1
		switch tok.Kind() {
		case '"':
			if s := tok.String(); isName {
				name = s
				tok = jsontext.String(r.text(s))
			} else {
				tok = jsontext.String(r.value(name, s))
			}
		case '0':
			if secretName.MatchString(name) {
				tok = jsontext.String(redacted)
			}
		}
		if enc.WriteToken(tok) != nil {
			return nil, false
		}
	}
}

// lines redacts a log: JSON where a line is that.
func (r *redaction) lines(lines [][]byte) string {
	var b strings.Builder
	for _, line := range lines {
		if clean, ok := r.json(line, false); ok && json.Valid(line) {
			b.Write(clean)
		} else {
			b.WriteString(r.text(string(line)))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
