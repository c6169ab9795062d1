package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSecretsAreTakenOutOfTexts(t *testing.T) {
	environ := []string{
		"CORP_TOKEN=from the env", "SHORT_KEY=abc", "TOKENIZERS_PARALLELISM=false", "HTTPS_PROXY=http://me:p%40ssword@proxy:1",
	}
	r := newRedaction(environ, "/home/zaphod", "zaphod")
	for _, tt := range []struct{ text, want string }{
		{"https://user:pass@host/simple", "https://***@host/simple"},
		{"https://user:p@ss@host/x and http://tok@h/", "https://***@host/x and http://***@h/"},
		{"https://user:pa/ss@host/x", "https://***@host/x"},
		{`["https://u:p@a/b","x@y"]`, `["https://***@a/b","x@y"]`},
		{"git+ssh://git@host/x", "git+ssh://***@host/x"},
		{"https://conda.example/t/tk-123-abc/noarch", "https://conda.example/t/***/noarch"},
		{"PIP_PASSWORD=hunter2", "PIP_PASSWORD=***"},
		{`Environment="UV_INDEX_X_PASSWORD=hunter2" A=b`, `Environment="UV_INDEX_X_PASSWORD=***" A=b`},
		{`export API_KEY='a b' next`, `export API_KEY='***' next`},
		{`"client_secret": "a\"b",`, `"client_secret": "***",`},
		{`said \"api_token\": \"abc\" here`, `said \"api_token\": \"***\" here`},
		{"?token=abc&x=1", "?token=***&x=1"},
		{"uv --password hunter2 --index x", "uv --password *** --index x"},
		{"Authorization: Bearer abc.def", "Authorization: ***"},
		{"bearer abcdef012345", "bearer ***"},
		{"ghp_0123456789abcdefghij and pypi-AgEIcHlwaS5vcmcCJGU", "*** and ***"},
		{"it read from the env, abc, false", "it read ***, abc, false"},
		{"https://user:pa'ss@host/x", "https://***@host/x"},
		{"HTTPS_PROXY=me:hunter2@proxy.corp:3128", "HTTPS_PROXY=***@proxy.corp:3128"},
		{"me:hunter2@proxy:3128 or //me:hunter2@proxy.corp/x", "***@proxy:3128 or //***@proxy.corp/x"},
		{"?u=https%3A%2F%2Fme%3Ahunter2%40host%2Fx", "?u=https%3A%2F%2F***%40host%2Fx"},
		{"machine pypi.corp login me password hunter2", "machine pypi.corp login *** password ***"},
		{"machine h\n  login me\n  password hunter2\nnext", "machine h\n  login ***\n  password ***\nnext"},
		{"/x.whl?sv=1&sig=a%3D&se=2 ?X-Amz-Signature=ab&x=1 ?key=abc pass=abc", "/x.whl?sv=1&sig=***&se=2 ?X-Amz-Signature=***&x=1 ?key=*** pass=***"},
		{`["uv", "--password", "hunter2", "-v"]`, `["uv", "--password", "***", "-v"]`},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIab\n-----END RSA PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"},
		{"CONDA_AUTH=abc npm_0123456789abcdefghij", "CONDA_AUTH=*** ***"},
		{"at 10:20:30 python:3.12@sha256 a:b@c pool.go:12 kind: auth; signal: killed", "at 10:20:30 python:3.12@sha256 a:b@c pool.go:12 kind: auth; signal: killed"},
		{"plain p@ssword or p%40ssword", "plain *** or ***"},
		{"/home/zaphod/.cache and /home/zaphods /mnt/zaphod/x zaphod", "~/.cache and /home/zaphods /mnt/USER/x zaphod"},
		{`"key":"uv.link" monkey=1 UV_KEYRING_PROVIDER=x keyring: y`, `"key":"uv.link" monkey=1 UV_KEYRING_PROVIDER=x keyring: y`},
		{"cannot reach https://host:8443/simple/", "cannot reach https://host:8443/simple/"},
	} {
		if got := r.text(tt.text); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestJSONStaysJSONInItsOrderWithoutItsSecrets(t *testing.T) {
	r := newRedaction(nil, "/home/zaphod", "zaphod")
	for _, tt := range []struct{ text, want string }{
		{`{"b":1,"a":{"password":"x","tokens":["y",{"n":2}],"pin_key":42},"c":"say \"https://u:p@h\" now"}`,
			`{"b":1,"a":{"password":"***","tokens":["***",{"n":2}],"pin_key":"***"},"c":"say \"https://***@h\" now"}`},
		{`{"out":"SECRET_KEY=\"abc\"\nPATH=/home/zaphod/bin","key":"log_level","none":null}`,
			`{"out":"SECRET_KEY=\"***\"\nPATH=~/bin","key":"log_level","none":null}`},
	} {
		got, ok := r.json([]byte(tt.text), false)
		if !ok || string(got) != tt.want || !json.Valid(got) {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	lines := r.lines([][]byte{[]byte(`{"msg":"my_token=abc"}`), []byte("panic: my_token=abc"), []byte(`{"msg":"torn`)})
	if want := "{\"msg\":\"my_token=***\"}\npanic: my_token=***\n{\"msg\":\"torn\n"; lines != want {
		t.Errorf("got %s", lines)
	}
	if strings.Contains(r.value("NPM_TOKEN", "x"), "x") {
		t.Error("the value of a secret's variable stays")
	}
}
