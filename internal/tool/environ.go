package tool

import (
	"slices"
	"strings"
)

// passed are the variables of the daemon that the children of a build get: who the user is, how to reach the network,
// and where the user's package index is. Whatever would put another environment or module path before ours stays out:
// VIRTUAL_ENV, CONDA_*, PYTHON*, the other UV_*.
var passed = []string{
	"HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "LC_*", "TMPDIR", "TZ",
	"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",
	"UV_INDEX", "UV_INDEX_*", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NATIVE_TLS",
	"UV_SYSTEM_CERTS",
	"UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_INSTALL_DIR", "PIP_*",
	"DBUS_SESSION_BUS_ADDRESS", // for keyrings
}

// Environ returns the variables of environ that a build's children get.
func Environ(environ []string) []string {
	var env []string
	all := slices.Concat(passed, passedHere)
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(all, func(pattern string) bool {
			prefix, wild := strings.CutSuffix(pattern, "*")
			return SameName(name, pattern) || wild && strings.HasPrefix(FoldName(name), FoldName(prefix))
		}) {
			env = append(env, v)
		}
	}
	return env
}

// SameName reports whether two names mean the same variable.
func SameName(a, b string) bool { return FoldName(a) == FoldName(b) }

// Lookup returns the value of a variable in environ.
func Lookup(environ []string, name string) string {
	for _, v := range slices.Backward(environ) {
		if n, value, _ := strings.Cut(v, "="); SameName(n, name) {
			return value
		}
	}
	return ""
}
