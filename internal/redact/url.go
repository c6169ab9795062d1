package redact

import (
	"strings"

	"runtimed/internal/lazyregexp"
)

var (
	// uv writes one slash if it takes a URL for a path.
	urlScheme  = lazyregexp.New(`[A-Za-z][A-Za-z0-9+.-]+:/{2,3}|\b(?:https?|ftp):/`)
	urlVersion = lazyregexp.New(`^v?\d+(?:\.\d+)*[a-z]*\d*$`)
	urlPort    = lazyregexp.New(`^\d{1,5}$`)
	urlHost    = lazyregexp.New(
		`^(?:[\w-]+\.)+[A-Za-z]{2,}(?:[:/]|$)|^localhost\b|^\d+(?:\.\d+){3}(?:[:/]|$)|^[\w.-]+:\d+(?:/|$)|^[\w-]+/`)
	urlQuery = lazyregexp.New(`([?&;])(?:([^=&;#\s"'()<>]*)=)?([^&;#\s"'()<>]*)`)
	urlPath  = lazyregexp.New(`(?:^|[\s"'(:=])/[\w./~%+@-]*\?[\w.%~-]+=[^\s"'<>()]+`)
)

// harmlessQuery are the members of a query that stay.
var harmlessQuery = map[string]bool{
	"subdirectory": true, "egg": true, "version": true, "page": true, "per_page": true, "format": true,
	"platform": true, "python": true,
}

type foundURL struct {
	begin, end int    // of the login in the text; equal if there is none
	login      string // without the @
	token      string // of a conda channel
	query      string // with its question mark
}

func urlsIn(s string) (found []foundURL) {
	all := urlScheme().FindAllStringIndex(s, -1)
	for i, at := range all {
		until := len(s)
		if i+1 < len(all) {
			until = all[i+1][0]
		}
		if at[1] > until {
			continue
		}
		scheme, rest := strings.ToLower(s[at[0]:at[1]]), s[at[1]:until]
		u := foundURL{begin: at[1], end: at[1]}
		if n := loginEnd(scheme, rest); n > 0 {
			u.end, u.login = at[1]+n+1, rest[:n]
		}
		path := word(rest[u.end-at[1]:])
		if _, after, ok := strings.Cut(path, "/t/"); ok && !strings.HasPrefix(scheme, "file:") {
			u.token, _, _ = strings.Cut(after, "/")
			u.token = strings.TrimRight(u.token, `'\),.`)
		}
		if i := strings.IndexByte(path, '?'); i >= 0 {
			u.query, _, _ = strings.Cut(path[i:], "#")
		}
		found = append(found, u)
	}
	return found
}

func word(s string) string {
	if i := strings.IndexAny(s, " \t\r\n\""); i >= 0 {
		return s[:i]
	}
	return s
}

// loginEnd is the index of the @ that ends the login of a URL; -1 if there is none. A password may contain a / or
// a blank: loginEnd rather takes too much than too little.
func loginEnd(scheme, rest string) int {
	if strings.HasPrefix(scheme, "file:") {
		return -1
	}
	token := word(rest)
	authority := token
	if i := strings.IndexAny(token, "/?#"); i >= 0 {
		authority = token[:i]
	}
	at, vcs := strings.LastIndexByte(authority, '@'), strings.Contains(scheme, "+")
	colon := strings.LastIndexByte(authority, ':')
	if at < 0 {
		colon = strings.IndexByte(authority, ':')
	}
	if colon < 0 {
		return at
	}
	host, port := authority[:colon], authority[colon+1:]
	isHost := at >= 0 || strings.Contains(host, ".") || host == "localhost" || strings.HasPrefix(host, "[")
	if at < colon && urlPort().MatchString(port) && (vcs || isHost) {
		return at
	}
	if vcs && at > colon {
		return at // what has an @ behind it is a branch
	}
	for end := len(token); ; { // the last @ without a version behind it
		i := strings.LastIndexByte(token[:end], '@')
		if i <= colon && i <= at {
			break
		}
		behind := token[i+1:]
		if n := strings.IndexAny(behind, "/?#,'`)"); n >= 0 {
			behind = behind[:n]
		}
		if scope := token[i-1] == '/' && urlPort().MatchString(port); !scope &&
			(!urlVersion().MatchString(behind) || strings.Count(behind, ".") == 3) {
			if i+1+len(behind) == len(token) && !strings.ContainsAny(behind, ".:") { // it may go on behind a blank
				return max(i, withBlanks(rest, i))
			}
			return i
		}
		end = i
	}
	if at >= 0 {
		return at
	}
	if len(port) == 0 || len(token) == len(rest) || rest[len(token)] != ' ' || urlPort().MatchString(port) {
		return -1
	}
	return withBlanks(rest, colon)
}

// withBlanks is the index of the @ of a login with blanks, after from; -1 if there is none before a host.
func withBlanks(rest string, from int) int {
	line, _, _ := strings.Cut(rest, "\n")
	line, _, _ = strings.Cut(line, `"`)
	for end := min(len(line), 120); ; {
		i := strings.LastIndexByte(line[:end], '@')
		if i <= from {
			return -1
		}
		if urlHost().MatchString(word(line[i+1:])) {
			return i
		}
		end = i
	}
}

// inURLs masks the logins, the tokens of channels and the values of queries in the URLs of a text.
func inURLs(s string) string {
	found := urlsIn(s)
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	done := 0
	for i, u := range found {
		until := len(s)
		if i+1 < len(found) {
			until = found[i+1].begin
		}
		b.WriteString(s[done:u.begin])
		if u.end > u.begin {
			b.WriteString(Mask + "@")
		}
		rest := s[u.end:max(until, u.end)]
		whole := word(rest)
		path := whole
		if u.token != "" {
			path = strings.Replace(path, "/t/"+u.token, "/t/"+Mask, 1)
		}
		b.WriteString(withoutQuery(path))
		done = u.end + len(whole)
	}
	return b.String() + s[done:]
}

// inPaths masks the values of queries in what HTTP clients name without scheme and host: "url: /simple?access=…".
func inPaths(s string) string {
	return urlPath().ReplaceAllStringFunc(s, func(m string) string {
		at := strings.IndexByte(m, '/')
		return m[:at] + withoutQuery(m[at:])
	})
}

// withoutQuery masks the values of a query, whatever their names: servers have many words for a signature.
func withoutQuery(url string) string {
	i := strings.IndexByte(url, '?')
	if i < 0 {
		return url
	}
	query, fragment := url[i:], ""
	if n := strings.IndexByte(query, '#'); n >= 0 {
		query, fragment = query[:n], query[n:]
	}
	return url[:i] + urlQuery().ReplaceAllStringFunc(query, func(part string) string {
		m := urlQuery().FindStringSubmatch(part)
		name, value := m[2], m[3]
		switch {
		case value == "", harmlessQuery[strings.ToLower(name)], len(value) <= 2 &&
			strings.Trim(value, "0123456789") == "":
			return part
		case !strings.Contains(part, "="):
			return m[1] + Mask
		}
		return m[1] + name + "=" + Mask
	}) + fragment
}
