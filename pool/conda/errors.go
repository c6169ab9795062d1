package conda

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/redact"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

// condaSays is the JSON answer of micromamba, mamba and conda.
type condaSays struct {
	Success   bool        `json:"success"`
	Exception string      `json:"exception_name"`  // conda
	Message   string      `json:"message"`         // conda
	Error     string      `json:"error"`           // conda, for an unexpected failure
	Packages  any         `json:"packages"`        // conda: those that are missing
	Errors    []condaSays `json:"errors"`          // conda, for several failures
	Problems  any         `json:"solver_problems"` // micromamba
	Records   any         `json:"log_records"`     // micromamba since 2.8
}

var lineOfObject = regexp.MustCompile(`(?m)^\{`)

// condaAnswer is the last object that a tool printed: warnings may come before it as objects.
func condaAnswer(stdout []byte) (answer condaSays, ok bool) {
	for _, at := range lineOfObject.FindAllIndex(stdout, -1) {
		var a condaSays
		err := json.NewDecoder(bytes.NewReader(stdout[at[0]:])).Decode(&a)
		var odd *json.UnmarshalTypeError // a field has another type in some versions; the others serve
		if err == nil || errors.As(err, &odd) {
			answer, ok = a, true
		}
	}
	return answer, ok
}

// text is what the answer says about the failure, with conda's exception names.
func (s condaSays) text() string {
	var lines []string
	for _, e := range append([]condaSays{s}, s.Errors...) {
		line := cmp.Or(e.Message, e.Error)
		for _, p := range texts(e.Packages) {
			if !strings.Contains(line, p) {
				line = "\n- " + p + "\n" + line
			}
		}
		if e.Exception != "" {
			line = e.Exception + ": " + line
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(slices.Concat(lines, texts(s.Records), texts(s.Problems)), "\n")
}

// texts returns the strings in a JSON value.
func texts(value any) []string {
	var list []string
	switch v := value.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, e := range v {
			list = append(list, texts(e)...)
		}
	case map[string]any:
		for _, e := range v {
			list = append(list, texts(e)...)
		}
	}
	return list
}

// besides is the output of a tool without its answer, which is not for people.
func besides(output string) string {
	var kept []string
	inside := false
	for line := range strings.Lines(output) {
		switch strings.TrimRight(line, "\n") {
		case "{":
			inside = true
		case "}":
			if !inside {
				kept = nil // only the end of the answer was kept
			}
			inside = false
		default:
			if !inside {
				kept = append(kept, line)
			}
		}
	}
	return strings.TrimSpace(strings.Join(kept, ""))
}

// specText is a spec as printed, perhaps with version and build.
const specText = `((?:\S+::)?[A-Za-z0-9_][A-Za-z0-9._-]*[^\n;]*?)`

// condaSymptoms are tried in this order. conda prints the name of an exception, libmamba, also inside conda, only
// texts.
var condaSymptoms = slices.Concat(builder.Symptoms{
	builder.When(builder.CauseDiskFull, "the disk is full", "free some space", `NoSpaceLeftError`),
	builder.When(builder.CauseAuth, "the proxy refused access",
		"check the user name and password of the proxy; the daemon has the variables of its start", `\bHTTP 407\b`,
		`status:? 407\b`, `407 Client Error`, `407 Proxy Authentication`),
	builder.When(builder.CauseAuth, "a channel refused access",
		"check the user name and token of the pool's channels", `\bHTTP (?:401|403)\b`, `status:? (?:401|403)\b`,
		`(?:401|403) Client Error`, `AuthenticationError`),
	builder.When(builder.CauseCorrupt, "a downloaded package is damaged",
		"something between here and the channel alters files, or the tool's package cache is damaged",
		`ChecksumMismatchError`, `MD5MismatchError`, `CondaVerificationError`, `SafetyError`, `InvalidArchiveError`,
		`File not valid:`, `Found incorrect download`, `Error when extracting package`),
	builder.When(builder.CauseOther, "one of the channels is not there", "correct the pool's channels",
		`UnavailableInvalidChannel`, `ChannelNotAllowed`, `ChannelDenied`, `status:? 404 \[[^\]]*/repodata`),
}, builder.CertificateSymptoms("a channel"), builder.Symptoms{
	builder.When(builder.CauseNetwork, "a channel cannot be reached",
		"check the network, the proxy and the pool's channels; it is tried again by itself", `CondaHTTPError`,
		`CondaSSLError`, `ProxyError`, `OfflineError`, `Max retries exceeded`, `Download error`,
		`Could(?: not|n't) resolve host`,
		`status:? (?:404|429|5\d\d)\b`, `Subdir \S+ not loaded`),
	builder.When(builder.CauseTimeout, "another process held the package cache for too long",
		"see whether another conda or mamba hangs; it is tried again by itself", `LockError`, `LockFile can't be set`,
		`LockFile error`),
	builder.When(builder.CausePackageNotFound, "the package %s is not in the channels",
		"correct the pool's packages, or name the channel that has it",
		`PackagesNotFound\w*Error: [^-]*\n\s*- `+specText+`(?:\n|$)`,
		`nothing provides requested `+specText+`(?:\n|$)`, `[├└]─ `+specText+` does not exist \(perhaps a typo`),
	builder.When(builder.CauseUnsatisfiable, "the packages cannot be installed together",
		"loosen the versions in the pool's packages, or choose another python", `UnsatisfiableError`,
		`SpecsConfigurationConflictError`, `RequestedAndPinnedError`, `ResolvePackageNotFound`,
		`Could not solve for environment specs`, `nothing provides `, `none of the providers can be installed`),
	builder.When(builder.CauseOther, "one of the packages is written in a way that cannot be read",
		"correct the pool's packages", `InvalidMatchSpec`, `InvalidVersionSpec`, `InvalidSpec`,
		`(?i)(?:parsing|invalid) (?:match ?spec|version spec)`),
	builder.When(builder.CausePermission, "a file cannot be written",
		"the state directory and the tool's package cache must be writable", `NotWritableError`, `NoWritable\w*Error`,
		`Read-only file system`, `Permission denied`, `Errno (?:13|30)\b`),
})

// condaFailure classifies a failure by the tool's answer, and by what libmamba prints. It does not read conda's
// stderr, where plugins print.
func condaFailure(p condaProgram, done tool.Result, err error) *builder.Error {
	answer, answered := condaAnswer(done.Stdout)
	text := answer.text()
	switch {
	case p.name != ProviderConda && !(p.classic && answered):
		text += "\n" + done.Output
	case !answered:
		text = string(done.Stdout)
	}
	text = redact.Text(text)
	var shown tool.Tail
	_, _ = shown.Write([]byte(besides(done.Output) + "\n" + answer.text()))
	if b := condaSymptoms.Known(p.name, text, shown.String(), err); b != nil {
		if b.Cause == builder.CauseCertificate {
			b.Hint = cmp.Or(b.Hint, "have ssl_verify in your .condarc name a file with the certificate of the "+
				"authority that signed it"+builder.AndFlush)
		}
		return b
	}
	b := builder.Ended(p.name, shown.String(), err)
	var exit *exec.ExitError
	switch {
	case err == nil:
		b.Message = p.name + " says that it failed"
	case !errors.As(err, &exit):
		b.Cause = builder.CauseToolMissing
	case answer.Exception != "":
		b.Message = fmt.Sprintf("%s ended with %s (%s)", p.name, exit.ProcessState, answer.Exception)
	}
	return b
}
