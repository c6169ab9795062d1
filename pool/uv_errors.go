package pool

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

const packageName = "([A-Za-z0-9][A-Za-z0-9._-]*)"

// symptoms are tried in this order: the more telling ones first, since uv prints whole chains of causes.
var symptoms = []symptom{
	{
		CauseAuth, regexp.MustCompile(`407 Proxy Authentication|Proxy Authentication Required|407 Client Error`),
		"the proxy refused access", "check the user name and password of the proxy; the daemon has the variables of its start",
	},
	{
		CauseAuth, regexp.MustCompile(`401 Unauthorized|403 Forbidden|(?:401|403) Client Error`),
		"the package index refused access", "check the user name and token of the package index",
	},
	{
		CauseCorrupt, regexp.MustCompile(`(?i)hash mismatch|checksum mismatch|failed to (?:extract|unpack|unzip)|corrupt deflate|invalid gzip|unexpected end of file|do not match the hashes`),
		"a downloaded file is damaged", "something between here and the package index alters files, or uv's cache is damaged: uv cache clean",
	},
	{
		CauseNetwork, regexp.MustCompile(`(?i)invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed|self.signed certificate|certificate (?:has )?expired`),
		"the certificate of the package index is not trusted here",
		"SSL_CERT_FILE must name the certificates that vouch for it, for the daemon; the clock must be right",
	},
	{
		CauseNetwork, regexp.MustCompile(`429 Too Many Requests|429 Client Error`),
		"the package index refuses more requests for now", "it is tried again by itself",
	},
	{
		CauseNetwork, regexp.MustCompile(`status server error|5\d\d Server Error|\b50[0234] (?:Internal Server Error|Not Implemented|Bad Gateway|Service Unavailable|Gateway)`),
		"the package index has a fault of its own", "it is tried again by itself",
	},
	{
		CauseNetwork, regexp.MustCompile(`status client error \((?:404|410)|(?:404|410) Client Error`),
		"the package index does not have what it lists", "check the package index; it is tried again by itself",
	},
	{
		CauseNetwork, regexp.MustCompile(`dns error|Temporary failure in name resolution|Name or service not known|nodename nor servname|No such host is known`),
		"the package index cannot be reached: its name is not known here", "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		CauseNetwork, regexp.MustCompile(`Connection refused|actively refused`),
		"the package index cannot be reached: nobody listens there", "check the package index and the proxy; it is tried again by itself",
	},
	{
		// What a tool may not connect to, and not a file that it may not write.
		CauseNetwork, regexp.MustCompile(`tcp connect error|client error \(Connect\)`),
		"the package index cannot be reached", "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		CauseOther, regexp.MustCompile("Failed to build `" + packageName),
		"the package %s cannot be built from its source here", "choose a version that has a wheel for this machine, or install what its build needs",
	},
	{
		CausePermission, regexp.MustCompile(`Read-only file system|os error 30\b|Permission denied|os error 13\b|Access is denied\. \(os error 5\)`),
		"a file cannot be written", "the state directory and uv's cache must be writable",
	},
	{
		CauseNetwork, regexp.MustCompile(`Failed to fetch|Failed to download|Request failed after|error sending request|Connection reset|Network is unreachable|Max retries exceeded|[Rr]ead timed out|operation timed out|SSLError|tls handshake`),
		"the package index cannot be reached", "check the network, the proxy and the package index; it is tried again by itself",
	},
	{
		CauseOther, regexp.MustCompile(`Couldn't parse requirement`),
		"one of the packages is written in a way that uv cannot read", "correct the pool's packages",
	},
	{
		CausePackageNotFound, regexp.MustCompile(packageName + ` was not found in the package registry`),
		"the package %s is not in the index", "correct the name in the pool's packages, or name the index that has it",
	},
	{
		// pip says no more than this, also where it reached nothing and was not to try again.
		CausePackageNotFound, regexp.MustCompile(`(?s)\(from versions: none\).*No matching distribution found for ` + packageName),
		"the package index has no %s for this machine, or was not reached", "check the network, the proxy and the package index",
	},
	{
		CausePackageNotFound, regexp.MustCompile(`No matching distribution found for ` + packageName),
		"the package %s is not in the index", "check the package index",
	},
	{
		CauseNetwork, regexp.MustCompile(`was not found in the cache|network was disabled|connectivity is disabled`),
		"the package index cannot be reached", "check the network; it is tried again by itself",
	},
	{
		CauseUnsatisfiable, regexp.MustCompile(`No solution found`),
		"the packages cannot be installed together", "loosen the versions in the pool's packages, or choose another python",
	},
	{
		CausePythonMissing, regexp.MustCompile(`No interpreter found|No Python at|Failed to inspect Python interpreter`),
		"no suitable Python was found", "install a Python, or name one as python of the pool in the configuration",
	},
}

// uvError tells from what uv printed why it failed.
func uvError(step, output string, err error) *BuildError { return toolError("uv "+step, output, err) }

// pipError is the same for the pip that fetches uv.
func pipError(python, output string, err error) *BuildError {
	for _, missing := range []string{"No module named pip", "No module named venv", "No module named ensurepip", "ensurepip is not"} {
		if strings.Contains(output, missing) {
			return &BuildError{Cause: CauseToolMissing, Message: python + " has no pip", Output: output}
		}
	}
	return toolError("pip", output, err)
}

func toolError(what, output string, err error) *BuildError {
	if b := machineError(what, output, err); b != nil {
		return b
	}
	b := &BuildError{Cause: CauseOther, Output: output, Hint: "see the tool's output"}
	for _, s := range symptoms {
		m := s.text.FindStringSubmatch(output)
		if m == nil {
			continue
		}
		b.Cause, b.Message, b.Hint = s.cause, s.say, s.hint
		if len(m) > 1 {
			b.Package, b.Message = m[1], fmt.Sprintf(s.say, m[1])
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
