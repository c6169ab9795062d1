package uv

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"runtimed/pool/builder"
)

const packageName = "([A-Za-z0-9][A-Za-z0-9._-]*)"

// symptoms are tried in this order, the most specific first: uv prints whole chains of causes.
var symptoms = []builder.Symptom{
	{
		Cause: builder.CauseAuth,
		Text:  regexp.MustCompile(`407 Proxy Authentication|Proxy Authentication Required|407 Client Error`),
		Say:   "the proxy refused access",
		Hint:  "check the user name and password of the proxy; the daemon has the variables of its start",
	},
	{
		Cause: builder.CauseAuth, Text: regexp.MustCompile(`401 Unauthorized|403 Forbidden|(?:401|403) Client Error`),
		Say: "the package index refused access", Hint: "check the user name and token of the package index",
	},
	{
		Cause: builder.CauseCorrupt,
		Text: regexp.MustCompile(
			`(?i)hash mismatch|checksum mismatch|failed to (?:extract|unpack|unzip)|corrupt deflate|invalid gzip|` +
				`unexpected end of file|do not match the hashes`),
		Say:  "a downloaded file is damaged",
		Hint: "something between here and the package index alters files, or uv's cache is damaged: uv cache clean",
	},
	{
		Cause: builder.CauseNetwork,
		Text: regexp.MustCompile(
			`(?i)invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed|` +
				`self.signed certificate|certificate (?:has )?expired`),
		Say:  "the certificate of the package index is not trusted here",
		Hint: "SSL_CERT_FILE must name the certificates that vouch for it, for the daemon; the clock must be right",
	},
	{
		Cause: builder.CauseNetwork, Text: regexp.MustCompile(`429 Too Many Requests|429 Client Error`),
		Say: "the package index refuses more requests for now", Hint: "it is tried again by itself",
	},
	{
		Cause: builder.CauseNetwork,
		Text: regexp.MustCompile(
			`status server error|5\d\d Server Error|\b50[0234] (?:Internal Server Error|Not Implemented|Bad Gateway|` +
				`Service Unavailable|Gateway)`),
		Say: "the package index has a fault of its own", Hint: "it is tried again by itself",
	},
	{
		Cause: builder.CauseNetwork,
		Text:  regexp.MustCompile(`status client error \((?:404|410)|(?:404|410) Client Error`),
		Say:   "the package index does not have what it lists",
		Hint:  "check the package index; it is tried again by itself",
	},
	{
		Cause: builder.CauseNetwork,
		Text: regexp.MustCompile(
			`dns error|Temporary failure in name resolution|Name or service not known|nodename nor servname|` +
				`No such host is known`),
		Say:  "the package index cannot be reached: its name is not known here",
		Hint: "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		Cause: builder.CauseNetwork, Text: regexp.MustCompile(`Connection refused|actively refused`),
		Say:  "the package index cannot be reached: nobody listens there",
		Hint: "check the package index and the proxy; it is tried again by itself",
	},
	{
		// This is a refused connection, and not a file that may not be written.
		Cause: builder.CauseNetwork, Text: regexp.MustCompile(`tcp connect error|client error \(Connect\)`),
		Say:  "the package index cannot be reached",
		Hint: "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		Cause: builder.CauseOther, Text: regexp.MustCompile("Failed to build `" + packageName),
		Say:  "the package %s cannot be built from its source here",
		Hint: "choose a version that has a wheel for this machine, or install what its build needs",
	},
	{
		Cause: builder.CausePermission,
		Text: regexp.MustCompile(
			`Read-only file system|os error 30\b|Permission denied|os error 13\b|Access is denied\. \(os error 5\)`),
		Say: "a file cannot be written", Hint: "the state directory and uv's cache must be writable",
	},
	{
		Cause: builder.CauseNetwork,
		Text: regexp.MustCompile(
			`Failed to fetch|Failed to download|Request failed after|error sending request|Connection reset|` +
				`Network is unreachable|Max retries exceeded|[Rr]ead timed out|operation timed out|SSLError|` +
				`tls handshake`),
		Say:  "the package index cannot be reached",
		Hint: "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		Cause: builder.CauseOther, Text: regexp.MustCompile(`Couldn't parse requirement`),
		Say: "one of the packages is written in a way that uv cannot read", Hint: "correct the pool's packages",
	},
	{
		Cause: builder.CausePackageNotFound,
		Text:  regexp.MustCompile(packageName + ` was not found in the package registry`),
		Say:   "the package %s is not in the index",
		Hint:  "correct the name in the pool's packages, or name the index that has it",
	},
	{
		// pip says no more than this, also where it reached nothing and was not to try again.
		Cause: builder.CausePackageNotFound,
		Text:  regexp.MustCompile(`(?s)\(from versions: none\).*No matching distribution found for ` + packageName),
		Say:   "the package index has no %s for this machine, or was not reached",
		Hint:  "check the network, the proxy and the package index",
	},
	{
		Cause: builder.CausePackageNotFound,
		Text:  regexp.MustCompile(`No matching distribution found for ` + packageName),
		Say:   "the package %s is not in the index", Hint: "check the package index",
	},
	{
		Cause: builder.CauseNetwork,
		Text:  regexp.MustCompile(`was not found in the cache|network was disabled|connectivity is disabled`),
		Say:   "the package index cannot be reached", Hint: "check the network; it is tried again by itself",
	},
	{
		Cause: builder.CauseUnsatisfiable, Text: regexp.MustCompile(`No solution found`),
		Say:  "the packages cannot be installed together",
		Hint: "loosen the versions in the pool's packages, or choose another python",
	},
	{
		Cause: builder.CausePythonMissing,
		Text:  regexp.MustCompile(`No interpreter found|No Python at|Failed to inspect Python interpreter`),
		Say:   "no suitable Python was found",
		Hint:  "install a Python, or name one as python of the pool in the configuration",
	},
}

// CommandError tells from what uv printed why it failed.
func CommandError(step, output string, err error) *builder.Error {
	return toolError("uv "+step, output, err)
}

// PipError is the same for the pip that fetches uv.
func PipError(python, output string, err error) *builder.Error {
	for _, missing := range []string{"No module named pip", "No module named venv", "No module named ensurepip",
		"ensurepip is not"} {
		if strings.Contains(output, missing) {
			return &builder.Error{Cause: builder.CauseToolMissing, Message: python + " has no pip", Output: output}
		}
	}
	return toolError("pip", output, err)
}

func toolError(what, output string, err error) *builder.Error {
	if b := builder.MachineError(what, output, err); b != nil {
		return b
	}
	b := &builder.Error{Cause: builder.CauseOther, Output: output, Hint: "see the tool's output"}
	for _, s := range symptoms {
		m := s.Text.FindStringSubmatch(output)
		if m == nil {
			continue
		}
		b.Cause, b.Message, b.Hint = s.Cause, s.Say, s.Hint
		if len(m) > 1 {
			b.Package, b.Message = m[1], fmt.Sprintf(s.Say, m[1])
		}
		return b
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && output == "":
		b.Message = fmt.Sprintf("%s ended with %s and said nothing", what, exit.ProcessState)
	case errors.As(err, &exit):
		b.Message = fmt.Sprintf("%s ended with %s", what, exit.ProcessState)
	case err != nil:
		b.Message = fmt.Sprintf("%s cannot be run: %s", what, err)
	default:
		b.Message = what + " made nothing"
	}
	return b
}
