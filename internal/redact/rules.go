package redact

import (
	"regexp"
	"strings"
	"sync"

	"runtimed/internal/lazyregexp"
)

const secretWord = `(?:tokens?(?:\b|[_\d])|passw(?:or)?d|passphrase|secret|credential|authorization|cookie|` +
	`(?:api|access|account|private|shared)_?-?key|signature|\bsig\b|\bjwt\b|\w[-_.](?:key|pass|pwd|auth)s?\b)`

var (
	secretName = lazyregexp.New(`(?i)` + secretWord + `|^uv_index_.*_username$`)
	secretFlag = lazyregexp.New(`(?i)^(?:--?[\w-]*` + secretWord + `[\w-]*|(?:proxy-)?authorization:?)$`)
)

const (
	// A host behind a login without a scheme: not a version (1.2), nor a digest (sha256:…).
	bareHost = `(?:[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b|\d+(?:\.\d+){3}|\[[\da-fA-F:]+\]|localhost\b|[\w.-]+:\d{2,5}\b)`
	// The name of a login: also me@corp.com and CORP\me.
	user = `[\pL\w.%+~-][\pL\w.%+~@\\-]*`
	// What follows a name in code or in a file; quotes may be quoted themselves.
	assign   = `(?:\\*["'])?\s*(?:[=:]|=>)\s*`
	oneValue = `(?:b|r|rb|br|u|f)?(?:(\\+")[^"]*"|(")(?:[^"\\]|\\.)*"|(')(?:[^'\\]|\\.)*'|` +
		`\[[^\]\n]*\]?|\{[^}\n]*\}?|\([^)\n]*\)?|[^\s"',;&}\])]+)`
)

var (
	bareLogin  = lazyregexp.New(`(^|[\s"'=(/,])` + user + `:([^\s"'@\\/][^\s"']*)@(` + bareHost + `)`)
	namedLogin = lazyregexp.New(`(?i)(\w*(?:proxy|url|index)\w*(?:\\*["'])?\s*[=:]\s*\\*["']?)` + user +
		`:[^\s"'@/][^\s"']*@(\w)`)
	wholeLogin = lazyregexp.New(`^\s*` + user + `:[^\s"'@/][^\s"']*@([\w-]+/?\s*)$`)
	netrcWord  = lazyregexp.New(`(?i)\b((?:login|account|password)\s+)(?:"[^"]*"|\S+)`)
)

// rules are applied in this order.
var rules = sync.OnceValue(func() []func(string) string {
	return []func(string) string{
		replace(`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----).*?(-----END|\z)`, "${1}"+Mask+"${2}"),
		inURLs,
		inPaths,
		replace(`(?i)(%3A(?:%2F){2})[^/\s"'&]*%40`, "${1}"+Mask+"%40"),
		replaceLogins,
		// The token of a conda channel, in a text without a scheme.
		replace(`(/t/)(?:[a-z]{2}-[\da-fA-F-]{8,}|<?TOKEN>?)`, "${1}"+Mask),
		replaceFunc(`(?i)\b(?:machine\s+\S+|default)\s+(?:(?:login|account|password)\s+(?:"[^"]*"|\S+)\s*)+`,
			func(entry string) string { return netrcWord().ReplaceAllString(entry, "${1}"+Mask) }),
		replace(`(?i)(\b(?:login|account)\s+)\S+(\s+password\s+)\S+`, "${1}"+Mask+"${2}"+Mask),
		replace(`((?:^|\s)(?:-u|-U|--user|--proxy-user)[ =]\s*["']?)[^\s:"'/]+:[^\s"']+`, "${1}"+Mask),
		// A value of several lines, in YAML, TOML or Python.
		replace(`(?im)(^[ \t]*[\w.-]*`+secretWord+
			`[\w.-]*["']?\s*:\s*[|>][-+\d]*[ \t]*\n)(?:[ \t]+\S.*(?:\n|$)|[ \t]*\n)+`, "${1}  "+Mask+"\n"),
		replace(`(?is)([\w.-]*`+secretWord+`[\w.-]*`+assign+`)(?:""".*?(?:"""|\z)|'''.*?(?:'''|\z))`, "${1}"+Mask),
		replace(`(?i)(\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-jfrog-art-api)\\*["']?\s*[:=]\s*\\*["']?)`+
			`(?:digest [^\r\n]+|[^\r\n"'\\]+)`, "${1}"+Mask),
		// NAME=value, as for a shell: up to the next blank that is not quoted.
		values(`\b((?:[A-Z][A-Z0-9]*_)*(?:[A-Z0-9]*(?:PASSWORD|PASSWD|SECRET|TOKEN)(?:_[A-Z0-9_]+)?|` +
			`(?:KEY|PASS|AUTH|[A-Z0-9]+_PWD)(?:_\d+)?|INDEX_[A-Z0-9_]+_USERNAME)=)` +
			`(?:(\\+")[^"]*"|(")(?:[^"\\]|\\.)*"|(')[^']*'|[^\s"'](?:\\[\s\S]|[^\s"\\])*)`),
		// NAME=value, "name": "value", name = 'value', --name value.
		values(`(?i)([\w.-]*` + secretWord + `[\w.-]*` + assign + `|--[\w-]*` + secretWord +
			`[\w-]*(?:\s+|["'],\s*)|` +
			`[?&](?:key|auth)=|\b(?:pass|auth|passwd)=|["'](?:pass|auth)\\*["']\s*:\s*|\b(?-i:[Pp]wd)=)` +
			`(?:(?:bearer|basic|token|digest)\s+)?` + oneValue),
		replaceFunc(`(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{6,}`, maskAuth),
		// Tokens with a known form.
		replace(`\b(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|pypi-[\w-]{16,}|hf_\w{16,}|npm_\w{16,}|`+
			`xox[a-z]-[\w-]{10,}|AIza[\w-]{30,}|AKCp\w{16,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)`, Mask),
	}
})

func replace(expr, by string) func(string) string {
	re := regexp.MustCompile(expr)
	return func(s string) string { return re.ReplaceAllString(s, by) }
}

func replaceFunc(expr string, by func(string) string) func(string) string {
	re := regexp.MustCompile(expr)
	return func(s string) string { return re.ReplaceAllStringFunc(s, by) }
}

func byForm(s string) string {
	if s == "" {
		return s
	}
	for _, rule := range rules() {
		s = rule(s)
	}
	return s
}

// values masks what follows the first group of expr. The other groups are quotes, of which a value has one kind.
func values(expr string) func(string) string {
	re := regexp.MustCompile(expr)
	return func(s string) string {
		var b strings.Builder
		done := 0
		for _, m := range re.FindAllStringSubmatchIndex(s, -1) {
			quote := ""
			for g := 4; g < len(m); g += 2 {
				if m[g] >= 0 {
					quote = s[m[g]:m[g+1]]
				}
			}
			value := strings.TrimPrefix(s[m[3]:m[1]], quote)
			if strings.HasPrefix(value, Mask) || strings.HasPrefix(value, "=") || strings.Trim(value, "|>+-") == "" {
				continue // masked already, a version (secretstorage==3.3), or the beginning of a block
			}
			b.WriteString(s[done:m[3]] + quote + Mask + quote)
			done = m[1]
		}
		return b.String() + s[done:]
	}
}

func maskAuth(m string) string {
	kind, value, _ := strings.Cut(m, " ")
	value = strings.TrimSpace(value)
	if strings.EqualFold(kind, "basic") && !strings.ContainsAny(value, "0123456789=+/") &&
		strings.ToLower(value) == value {
		return m
	}
	return kind + " " + Mask
}

func replaceLogins(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	harmless := func(m string) bool {
		for _, begin := range []string{"mailto:", "sha256:", "sha512:", "pkg:", "npm:"} {
			if strings.HasPrefix(strings.ToLower(strings.TrimLeft(m, " \t\n\"'=(/,")), begin) {
				return true
			}
		}
		return strings.Contains(m, "@sha256:") || strings.Contains(m, "@sha512:")
	}
	s = bareLogin().ReplaceAllStringFunc(s, func(m string) string {
		if harmless(m) {
			return m
		}
		return bareLogin().ReplaceAllString(m, "${1}"+Mask+"@${3}")
	})
	s = namedLogin().ReplaceAllString(s, "${1}"+Mask+"@${2}")
	if !harmless(s) && !strings.Contains(s, "@sha") {
		s = wholeLogin().ReplaceAllString(s, Mask+"@${1}")
	}
	return s
}
