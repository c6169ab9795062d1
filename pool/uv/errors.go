package uv

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

const packageName = "([A-Za-z0-9][A-Za-z0-9._-]*)"

// symptoms are tried in this order, the most specific first: uv prints whole chains of causes.
var symptoms = slices.Concat(builder.Symptoms{
	builder.When(builder.CauseAuth, "the proxy refused access",
		"check the user name and password of the proxy; the daemon has the variables of its start",
		`407 Proxy Authentication|Proxy Authentication Required|407 Client Error`),
	builder.When(builder.CauseAuth, "a repository refused access",
		"git has the daemon's variables and credentials; set them where it is started",
		`could not read (?:Username|Password)|Authentication failed for|Permission denied \(publickey`,
		`Host key verification failed`),
	builder.When(builder.CauseLockOutdated, "the lock file is older than the project",
		"bring it up to date with: uv lock; or ask for it as it is (--frozen)",
		`lockfile at .* needs to be updated|Unable to find lockfile`),
	builder.When(builder.CauseAuth, "the package index refused access",
		"check the user name and token of the package index",
		`401 Unauthorized|403 Forbidden|(?:401|403) Client Error`),
	builder.When(builder.CauseCorrupt, "a downloaded file is damaged",
		"something between here and the package index alters files, or uv's cache is damaged: uv cache clean",
		`(?i)hash mismatch|checksum mismatch|failed to (?:extract|unpack|unzip)|corrupt deflate|invalid gzip`,
		`unexpected end of file|do not match the hashes`),
	// A build may print anything, also about the certificate of another server.
	builder.When(builder.CauseSourceBuild, "the package %s cannot be built from its source here",
		"choose a version that has a wheel for this machine, or see in the tool's output what its build needs",
		"(?s)Failed to build `"+packageName+".*The build backend returned an error.*(?i:certificate)"),
	builder.When(builder.CauseCertificate, "the certificate of a repository is not accepted here",
		"have git trust it, for example with: git config --global http.sslCAInfo FILE",
		`unable to access '[^\n]*certificate`),
}, builder.CertificateSymptoms("the package index"), builder.Symptoms{
	builder.When(builder.CauseNetwork, "the package index refuses more requests for now",
		builder.ByItself, `429 Too Many Requests|429 Client Error`),
	builder.When(builder.CauseNetwork, "the package index has a fault of its own", builder.ByItself,
		`status server error|5\d\d Server Error`,
		`\b50[0234] (?:Internal Server Error|Not Implemented|Bad Gateway|Service Unavailable|Gateway)`),
	builder.When(builder.CauseNetwork, "the package index does not have what it lists",
		"check the package index; it is tried again by itself",
		`status client error \((?:404|410)|(?:404|410) Client Error`),
	builder.When(builder.CauseNetwork, "the package index cannot be reached: its name is not known here",
		"check the network, the proxy and the package index; it is tried again by itself",
		`dns error|Temporary failure in name resolution|Name or service not known|nodename nor servname`,
		`No such host is known`),
	builder.When(builder.CauseNetwork, "the package index cannot be reached: nobody listens there",
		"check the package index and the proxy; it is tried again by itself", `Connection refused|actively refused`),
	// This is a refused connection, and not a file that may not be written.
	builder.When(builder.CauseNetwork, "the package index cannot be reached",
		"check the network, the proxy and the package index; it is tried again by itself",
		`tcp connect error|client error \(Connect\)`),
	builder.When(builder.CauseSourceBuild, "the package %s cannot be built from its source here",
		"choose a version that has a wheel for this machine, or install what its build needs",
		"Failed to build `"+packageName),
	builder.When(builder.CausePermission, "a file cannot be written",
		"the state directory and uv's cache must be writable",
		`Read-only file system|os error 30\b|Permission denied|os error 13\b|Access is denied\. \(os error 5\)`),
	builder.When(builder.CauseNetwork, "the package index cannot be reached",
		"check the network, the proxy and the package index; it is tried again by itself",
		`Failed to fetch|Failed to download|Request failed after|error sending request|Connection reset`,
		`Network is unreachable|Max retries exceeded|[Rr]ead timed out|operation timed out|SSLError`,
		`tls handshake`),
	builder.When(builder.CauseOther, "one of the packages is written in a way that uv cannot read",
		"correct the pool's packages", `Couldn't parse requirement`),
	builder.When(builder.CausePackageNotFound, "the package %s is not in the index",
		"correct the name in the pool's packages, or name the index that has it",
		packageName+` was not found in the package registry`),
	// pip says no more than this, also where it reached nothing and was not to try again.
	builder.When(builder.CausePackageNotFound, "the package index has no %s for this machine, or was not reached",
		"check the network, the proxy and the package index",
		`(?s)\(from versions: none\).*No matching distribution found for `+packageName),
	builder.When(builder.CausePackageNotFound, "the package %s is not in the index", "check the package index",
		`No matching distribution found for `+packageName),
	builder.When(builder.CauseNetwork, "the package index cannot be reached",
		"check the network; it is tried again by itself",
		`was not found in the cache|network was disabled|connectivity is disabled`),
	builder.When(builder.CauseUnsatisfiable, "the packages cannot be installed together",
		"loosen the versions in the pool's packages, or choose another python",
		`No solution found|requirements are unsatisfiable`), // the end of a long output is all that is kept
	builder.When(builder.CausePythonMissing, "no suitable Python was found",
		"install a Python, or name one as python of the pool in the configuration",
		`No interpreter found|No Python at|Failed to inspect Python interpreter`),
})

// missingFile is what a build from source lacked: by uv's own hint, by the compiler, or by a build script.
var missingFile = regexp.MustCompile(`you need to install (?:a|the) (?:library|package) that provides "([^"]+)"|` +
	`fatal error: ([\w./+-]+\.h)[:p]|([\w-]+) executable not found`)

var noPip = regexp.MustCompile(`No module named (?:pip|venv|ensurepip)|ensurepip is not`)

// CommandError tells from what uv printed why it failed.
func (u *Builder) CommandError(step, output string, err error) *builder.Error {
	or := ""
	for _, setting := range []string{"system-certs", "native-tls"} { // the earlier name
		if strings.Contains(output, "`--"+setting+"`") { // it proposes that where it does not look there yet
			or = "; or, if this system trusts that authority, have " + setting + " = true in your uv.toml" +
				builder.AndFlush
			break
		}
	}
	return toolError("uv "+step, output, err).Vouch(builder.CertFile, tool.Lookup(u.Environ, builder.CertFile), or)
}

// PipError is the same for the pip that fetches uv.
func (u *Builder) PipError(python, output string, err error) *builder.Error {
	if noPip.MatchString(output) {
		return &builder.Error{Cause: builder.CauseToolMissing, Message: python + " has no pip", Output: output}
	}
	name, file := u.pipCert()
	return toolError("pip", output, err).Vouch(name, file, "")
}

func toolError(what, output string, err error) *builder.Error {
	if b := symptoms.Known(what, output, output, err); b != nil {
		if m := missingFile.FindStringSubmatch(output); m != nil && b.Cause == builder.CauseSourceBuild {
			b.Hint = "install what has " + cmp.Or(m[1], m[2], m[3]) + " on this machine, and ask again; or choose a " +
				"version that has a wheel"
		}
		return b
	}
	b := builder.Ended(what, output, err)
	if err == nil {
		b.Message = what + " made nothing"
	}
	return b
}
