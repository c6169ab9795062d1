package redact

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSecretsAreTakenOutOfTexts(t *testing.T) {
	r := New([]string{
		"CORP_TOKEN=from the env", "SHORT_KEY=abc", "TOKENIZERS_PARALLELISM=false",
		"HTTPS_PROXY=http://me:p%40ssword@proxy:1",
		"ALL_PROXY=socks5h://me:geheimnis@proxy", "http_proxy=me:wachtwoord@proxy.corp:3128", "API_KEY_FILE=/",
		"PIP_INDEX_URL=https://s3cr3tt0ken@h/x",
	})
	for _, tt := range []struct{ text, want string }{
		// in URLs
		{"https://user:pass@host/simple", "https://***@host/simple"},
		{"at https://me:pw@host/c now", "at https://***@host/c now"},
		{"https://user:p@ss@host/x and http://tok@h/", "https://***@host/x and http://***@h/"},
		{"see https://tok@host, http://a:b@c/d", "see https://***@host, http://***@c/d"},
		{"https://user:pa/ss@host/x", "https://***@host/x"},
		{"https://user:pa:s%s#?@host/x", "https://***@host/x"},
		{"https://me@corp.com:pa/ss@host/x", "https://***@host/x"},
		{"https://user:pa ss wo@host/x", "https://***@host/x"},
		{"https://user:p@s s@host.corp", "https://***@host.corp"},
		{"https://user:12/34@proxy.corp:3128", "https://***@proxy.corp:3128"},
		{"https://user:pw@host/pkg@1.2", "https://***@host/pkg@1.2"},
		{"git+https://u:p@host/org/repo@main", "git+https://***@host/org/repo@main"},
		{`["https://u:p@a/b","x@y"]`, `["https://***@a/b","x@y"]`},
		{"git+ssh://git@host/x", "git+ssh://***@host/x"},
		{"ftp:/bob:pw@host/y", "ftp:/***@host/y"},
		{"two https://u:p@h/a https://u:p@h/b ok", "two https://***@h/a https://***@h/b ok"},
		{"https://user:pa'ss@host/x", "https://***@host/x"},
		{"https://conda.example/t/tk-123-abc/noarch", "https://conda.example/t/***/noarch"},
		{"(url: \"https://host/t/ab-12\")", "(url: \"https://host/t/***\")"},
		{"host/t/tk-0123-abcdef/conda-forge", "host/t/***/conda-forge"},
		{"?u=https%3A%2F%2Fme%3Ahunter2%40host%2Fx", "?u=https%3A%2F%2F***%40host%2Fx"},
		{"https://h/s?access=hunter2&subdirectory=a#sha256=ab", "https://h/s?access=***&subdirectory=a#sha256=ab"},
		{"https://h/s?X-Amz-Signature=ab#frag key=a", "https://h/s?X-Amz-Signature=***#frag key=a"},
		{"a @ https://h/a.zip?x=1&sig=ab%3D&token=c b", "a @ https://h/a.zip?x=1&sig=***&token=*** b"},
		{"broken by 'x': /simple?access=hunter2/uv/ (with url: /s?a=hunter2&page=12)",
			"broken by 'x': /simple?access=*** (with url: /s?a=***&page=12)"},
		{"https://h/s?hunter2 (https://h/s?k=hunter2)", "https://h/s?*** (https://h/s?k=***)"},
		// without a scheme
		{"HTTPS_PROXY=me:hunter2@proxy.corp:3128", "HTTPS_PROXY=***@proxy.corp:3128"},
		{"me:hunter2@proxy:3128 or //me:hunter2@proxy.corp/x", "***@proxy:3128 or //***@proxy.corp/x"},
		{"user:pa/ss@proxy:3128", "***@proxy:3128"},
		{"proxy = 'user:secret@proxy'", "proxy = '***@proxy'"},
		{"user:secret@proxy", "***@proxy"},
		{`HTTP_PROXY=CORP\me:hunter2@proxy:3128 CORP\me:hunter2@proxy:3128`,
			`HTTP_PROXY=***@proxy:3128 ***@proxy:3128`},
		{"proxy=me@corp.com:hunter2@proxy:3128, über:hunter2@proxy:3128", "proxy=***@proxy:3128, ***@proxy:3128"},
		{"curl -u me:hunter2 -v", "curl -u *** -v"},
		// by name
		{"PIP_PASSWORD=hunter2", "PIP_PASSWORD=***"},
		{"X_PASSWORD=hun,ter;2&}'", "X_PASSWORD=***"},
		{`X_TOKEN=a\ b next`, `X_TOKEN=*** next`},
		{`Environment="UV_INDEX_X_PASSWORD=hunter2" A=b`, `Environment="UV_INDEX_X_PASSWORD=***" A=b`},
		{`export API_KEY='a b' next`, `export API_KEY='***' next`},
		{`api_key = "a b" # c`, `api_key = "***" # c`},
		{`"client_secret": "a\"b",`, `"client_secret": "***",`},
		{`said \"api_token\": \"abc\" here`, `said \"api_token\": \"***\" here`},
		{"{'password': 'a b', 'n': 1}", "{'password': '***', 'n': 1}"},
		{"tokens: [\"a\", 'b'] x", "tokens: *** x"},
		{"{'secrets': ('a', 'b')}", "{'secrets': ***}"},
		{"password: |\n  one\n  two\nnext: x", "password: |\n  ***\nnext: x"},
		{"password = \"\"\"\none\ntwo\"\"\"\nnext", "password = ***\nnext"},
		{"?token=abc&x=1", "?token=***&x=1"},
		{"uv --password hunter2 --index x", "uv --password *** --index x"},
		{`["uv", "--password", "hunter2", "-v"]`, `["uv", "--password", "***", "-v"]`},
		{"Authorization: Bearer abc.def", "Authorization: ***"},
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"},
		{"Authorization: Token abc\nHost: x", "Authorization: ***\nHost: x"},
		{"-H 'authorization: token abc' -v", "-H 'authorization: ***' -v"},
		{`{"Authorization": "Basic abc"}`, `{"Authorization": "***"}`},
		{"Cookie: a=b; c=d", "Cookie: ***"},
		{"Authorization: Digest username=\"me\", response=\"hunter2\"\nX-JFrog-Art-Api: hunter2",
			"Authorization: ***\nX-JFrog-Art-Api: ***"},
		{`{"auth": "hunter2"} UV_INDEX_CORP_USERNAME=hunter2`, `{"auth": "***"} UV_INDEX_CORP_USERNAME=***`},
		{"bearer abcdef012345 and Basic dXNlcjpwYXNz", "bearer *** and Basic ***"},
		{"machine pypi.corp login me password hunter2", "machine pypi.corp login *** password ***"},
		{"machine h\n  login me\n  password hunter2\nnext", "machine h\n  login ***\n  password ***\nnext"},
		{"default password hunter2 login me", "default password *** login ***"},
		{"/x.whl?sv=1&sig=a%3D&se=2 ?X-Amz-Signature=ab&x=1 ?key=abc pass=abc",
			"/x.whl?sv=1&sig=***&se=2 ?X-Amz-Signature=***&x=1 ?key=*** pass=***"},
		{"CONDA_AUTH=abc npm_0123456789abcdefghij", "CONDA_AUTH=*** ***"},
		// by form
		{"ghp_0123456789abcdefghij and pypi-AgEIcHlwaS5vcmcCJGU", "*** and ***"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIab\n-----END RSA PRIVATE KEY-----",
			"-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"},
		// known
		{"it read from the env, abc, false", "it read ***, abc, false"},
		{"plain p@ssword or p%40ssword", "plain *** or ***"},
		{"a geheimnis, two geheimnisse, wachtwoord s3cr3tt0ken", "a ***, two geheimnisse, *** ***"},
	} {
		got := r.Text(tt.text)
		if got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
		if again := r.Text(got); again != got {
			t.Errorf("%s\nbecomes %s", got, again)
		}
	}
}

func TestWhatIsNoSecretIsLeft(t *testing.T) {
	r := New([]string{"PATH=/usr/bin:/bin", "PWD=/home/zaphod", "HTTPS_PROXY=http://proxy:3128",
		"SSH_AUTH_SOCK=/tmp/agent"})
	for _, text := range []string{
		"numpy>=2,<3 and pkg@1.2 in /home/zaphod/.cache/x@y.z/a", "six==1.17.0 --hash=sha256:0123456789abcdef",
		"mail me@example.org or <zaphod@example.org>", "mailto:me@example.org", "python:3.12@sha256:0123456789ab",
		"a:b@c d",
		"at 10:20:30 pool.go:12 kind: auth; signal: killed", "https://host:8443/simple/@scope/x",
		"https://host.corp:8443/org/repo@v1.2",
		"git+https://host:8443/org/repo@main", "https://host/simple@1", "file:///home/x@y/z", "git@github.com:org/repo",
		"/home/t/file",
		`"key":"uv.link" monkey=1 UV_KEYRING_PROVIDER=x keyring: y`, "PWD=/home/zaphod SSH_AUTH_SOCK=/tmp/agent",
		"cannot reach https://host:8443/simple/",
		"https://host/x.whl#sha256=ab", "a basic installation of tokenizers and secretstorage==3.3",
		`C:\Users\me@corp.com\x C:/Users/me@corp.com/x`,
		"check the user name, password or token of the channel",
		"Failed to fetch: https://host/simple/six/: tcp connect error (os error 111)",
		"error: https://host/x: see b@1.2", "conda-forge::python 3.12.* *_cpython",
		"pkg:pypi/six@1.2 npm:left-pad@1.3.0 npm:x@host.corp", "",
	} {
		if got := r.Text(text); got != text {
			t.Errorf("%s\nbecomes %s", text, got)
		}
	}
}

func TestJSONStaysJSONInItsOrderWithoutItsSecrets(t *testing.T) {
	r := New(nil)
	for _, tt := range []struct{ text, want string }{
		{`{"b":1,"a":{"password":"x","tokens":["y",{"n":2},"z"],"pin_key":42},"c":"say \"https://u:p@h\" now"}`,
			`{"b":1,"a":{"password":"***","tokens":["***",{"n":"***"},"***"],"pin_key":"***"},"c":"say ` +
				`\"https://***@h\" now"}`},
		{`{"out":"SECRET_KEY=\"abc\"\nPATH=/bin","key":"log_level","none":null}`,
			`{"out":"SECRET_KEY=\"***\"\nPATH=/bin","key":"log_level","none":null}`},
		{`{"argv":["uv","--password","x","-v"],"env":[{"name":"A_TOKEN","value":"x"},{"name":"A","value":"y"}]}`,
			`{"argv":["uv","--password","***","-v"],"env":[{"name":"A_TOKEN","value":"***"},{"name":"A",` +
				`"value":"y"}]}`},
		{`[["Authorization","Bearer x"],"https://h/?a=hunter2"]`, `[["Authorization","***"],"https://h/?a=***"]`},
	} {
		got, ok := r.JSON([]byte(tt.text), false)
		if !ok || string(got) != tt.want || !json.Valid(got) {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	lines := r.Lines([][]byte{[]byte(`{"msg":"my_token=abc"}`), []byte("panic: my_token=abc"), []byte(`{"msg":"torn`)})
	if want := "{\"msg\":\"my_token=***\"}\npanic: my_token=***\n{\"msg\":\"torn\n"; lines != want {
		t.Errorf("got %s", lines)
	}
	if strings.Contains(r.Value("NPM_TOKEN", "x"), "x") {
		t.Error("the value of a secret's variable stays")
	}
}

// Secrets of any form, in whatever stands around them.
func TestNoSecretStaysWhateverItLooksLike(t *testing.T) {
	shapes := []string{
		"https://user:%s@host/simple", "x http://me:%s@proxy.corp:3128/ y", "HTTPS_PROXY=me:%s@proxy.corp:3128",
		"A_PASSWORD=%s", "MY_SECRET=%s b",
		`"auth_token": "%s", "b"`, "Authorization: Bearer %s", "Authorization: Basic %s",
		"machine h login me password %s\n", "uv --password %s -v",
		"https://host/x?access=%s", "https://host/x?a=b&sig=%s#frag", "password = '%s'", "two\nlines: API_KEY=\"%s\"\n",
	}
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9_.~/+=%-]{8,20}[a-zA-Z0-9]`).Draw(t, "secret")
		shape := rapid.SampledFrom(shapes).Draw(t, "shape")
		for _, r := range []*Redactor{New(nil), New([]string{"X_TOKEN=" + secret})} {
			text := fmt.Sprintf(shape, secret)
			if got := r.Text(text); strings.Contains(got, secret) {
				t.Fatalf("%s became %s", text, got)
			}
		}
		known := New([]string{"HTTP_PROXY=http://me:" + url.PathEscape(secret) + "@h"})
		if got := known.Text("so " + secret + " and " + url.QueryEscape(secret)); strings.Contains(got, secret) {
			t.Fatalf("known: %s", got)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"https://u:p@h/x?a=b", "A_KEY='b", "x:y@z:80", "machine a login b password c",
		`{"a":["b",{"token":1}]}`, "-----BEGIN PRIVATE KEY-----x"} {
		f.Add(s)
	}
	r := New([]string{"A_TOKEN=geheimes", "P=http://u:pass word@h"})
	f.Fuzz(func(t *testing.T, s string) {
		if got := r.Text(s); strings.Contains(got, "geheimes1") || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
		if got, ok := r.JSON([]byte(s), false); ok && json.Valid([]byte(s)) && !json.Valid(got) {
			t.Errorf("%q became %q", s, got)
		}
		if got := Printable(s); strings.ContainsFunc(got,
			func(c rune) bool { return hidden(c) && c != 0x200c && c != 0x200d }) || !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestCharactersThatDeceiveAreShownAsWhatTheyAre(t *testing.T) {
	for text, want := range map[string]string{
		"plain é 日本 العربية": "plain é 日本 العربية", "a\tb": "a b", "a\x1b[31mb\r\n": `a\x1b[31mb\r\n`,
		"a\u202egnp.exe":                 `a\u202egnp.exe`,
		"\u2066\u2069\u200e\u200f\u061c": `\u2066\u2069\u200e\u200f\u061c`,
		"a\u200bb\ufeffc\u00add":         `a\u200bb\ufeffc\u00add`,
		"\u2028\u2029\u0085\u009b":       `\u2028\u2029\u0085\u009b`, "\U000e0041\u3164": `\U000e0041\u3164`,
		"a\xff\x80b": "a��b", "�x": "�x",
		"👩\u200d👧 ❤\ufe0f\u200d🔥 می\u200cخواهم": "👩\u200d👧 ❤\ufe0f\u200d🔥 می\u200cخواهم", "a\u200db": `a\u200db`,
		"\u200d": `\u200d`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
	if got := PrintableLines("a\r\nb\x1b\nc"); got != "a\nb\\x1b\nc" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsLearnedLeavesAloneWhoReadsMeanwhile(t *testing.T) {
	r := New(nil)
	for i := range 20 {
		before := r.literal
		want := slices.Clone(before)
		r.learn(strings.Repeat("x", 10+i) + "1")
		if !slices.Equal(before, want) {
			t.Fatalf("after %d: %q, not %q", i, before, want)
		}
	}
}
