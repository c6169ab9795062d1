package pool

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
)

// condaSays is the answer in JSON of micromamba, mamba and conda.
type condaSays struct {
	Success   bool        `json:"success"`
	Exception string      `json:"exception_name"`  // conda
	Message   string      `json:"message"`         // conda
	Error     string      `json:"error"`           // conda, where it did not expect the failure
	Packages  any         `json:"packages"`        // conda, of those that are not there
	Errors    []condaSays `json:"errors"`          // conda, of several failures at once
	Problems  any         `json:"solver_problems"` // micromamba
	Records   any         `json:"log_records"`     // micromamba since 2.8
}

var lineOfObject = regexp.MustCompile(`(?m)^\{`)

// condaAnswer is the last object that a tool printed: warnings may come as objects of their own before it.
func condaAnswer(stdout []byte) (answer condaSays, ok bool) {
	for _, at := range lineOfObject.FindAllIndex(stdout, -1) {
		var a condaSays
		err := json.NewDecoder(bytes.NewReader(stdout[at[0]:])).Decode(&a)
		var odd *json.UnmarshalTypeError // a field may be of another type in some version: the others serve
		if err == nil || errors.As(err, &odd) {
			answer, ok = a, true
		}
	}
	return answer, ok
}

// text is what the answer says of the failure, with conda's names of exceptions.
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

// texts are the strings in a JSON value.
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

// besides is what a tool printed but for its answer, which is not for people.
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

const (
	condaName = `[A-Za-z0-9_][A-Za-z0-9._-]*`
	specText  = `((?:\S+::)?` + condaName + `[^\n;]*?)` // as these tools print one: maybe with a version and build
)

// condaSymptoms are tried in this order. conda tells the name of an exception; libmamba, which conda may solve with as well, only texts.
var condaSymptoms = []symptom{
	{
		CauseDiskFull, anyOf(`NoSpaceLeftError`), "the disk is full", "free some room",
	},
	{
		CauseAuth, anyOf(`\bHTTP 407\b`, `status:? 407\b`, `407 Client Error`, `407 Proxy Authentication`),
		"the proxy refused access", "check the user name and password of the proxy; the daemon has the variables of its start",
	},
	{
		CauseAuth, anyOf(`\bHTTP (?:401|403)\b`, `status:? (?:401|403)\b`, `(?:401|403) Client Error`, `AuthenticationError`),
		"a channel refused access", "check the user name and token of the pool's channels",
	},
	{
		CauseCorrupt, anyOf(
			`ChecksumMismatchError`, `MD5MismatchError`, `CondaVerificationError`, `SafetyError`, `InvalidArchiveError`,
			`File not valid:`, `Found incorrect download`, `Error when extracting package`,
		),
		"a downloaded package is damaged", "something between here and the channel alters files, or the tool's package cache is damaged",
	},
	{
		CauseOther, anyOf(`UnavailableInvalidChannel`, `ChannelNotAllowed`, `ChannelDenied`, `status:? 404 \[[^\]]*/repodata`),
		"one of the channels is not there", "correct the pool's channels",
	},
	{
		CauseNetwork, anyOf(`CondaSSLError`, `CERTIFICATE_VERIFY_FAILED`, `(?i)certificate verify failed|SSL certificate problem|self.signed certificate`),
		"the certificate of a channel is not trusted here", "SSL_CERT_FILE must name the certificates that vouch for it, for the daemon",
	},
	{
		CauseNetwork, anyOf(
			`CondaHTTPError`, `ProxyError`, `OfflineError`, `Max retries exceeded`,
			`Download error`, `Could(?: not|n't) resolve host`, `status:? (?:404|429|5\d\d)\b`, `Subdir \S+ not loaded`,
		),
		"a channel cannot be reached", "check the network, the proxy and the pool's channels; it is tried again by itself",
	},
	{
		CauseTimeout, anyOf(`LockError`, `LockFile can't be set`, `LockFile error`),
		"another process held the package cache for too long", "see whether another conda or mamba hangs; it is tried again by itself",
	},
	{
		CausePackageNotFound, anyOf(
			`PackagesNotFound\w*Error: [^-]*\n\s*- `+specText+`(?:\n|$)`,
			`nothing provides requested `+specText+`(?:\n|$)`,
			`[├└]─ `+specText+` does not exist \(perhaps a typo`,
		),
		"the package %s is not in the channels", "correct the pool's packages, or name the channel that has it",
	},
	{
		CauseUnsatisfiable, anyOf(
			`UnsatisfiableError`, `SpecsConfigurationConflictError`, `RequestedAndPinnedError`, `ResolvePackageNotFound`,
			`Could not solve for environment specs`, `nothing provides `, `none of the providers can be installed`,
		),
		"the packages cannot be installed together", "loosen the versions in the pool's packages, or choose another python",
	},
	{
		CauseOther, anyOf(`InvalidMatchSpec`, `InvalidVersionSpec`, `InvalidSpec`, `(?i)(?:parsing|invalid) (?:match ?spec|version spec)`),
		"one of the packages is written in a way that cannot be read", "correct the pool's packages",
	},
	{
		CausePermission, anyOf(`NotWritableError`, `NoWritable\w*Error`, `Read-only file system`, `Permission denied`, `Errno (?:13|30)\b`),
		"a file cannot be written", "the state directory and the tool's package cache must be writable",
	},
}

func anyOf(patterns ...string) *regexp.Regexp { return regexp.MustCompile(strings.Join(patterns, "|")) }

// condaFailure tells why a tool failed: from its answer, and from what libmamba prints. conda's own stderr is not read: plugins print
// there.
func condaFailure(p condaProgram, done finished, err error) *BuildError {
	answer, answered := condaAnswer(done.stdout)
	text := answer.text()
	switch {
	case p.name != ProviderConda && !(p.classic && answered):
		text += "\n" + done.output
	case !answered:
		text = string(done.stdout)
	}
	text = redact.Text(text)
	var shown tail
	_, _ = shown.Write([]byte(besides(done.output) + "\n" + answer.text()))
	if b := machineError(p.name, text, err); b != nil {
		b.Output = shown.String()
		return b
	}
	b := &BuildError{Cause: CauseOther, Output: shown.String(), Hint: "see the tool's output"}
	for _, s := range condaSymptoms {
		m := s.text.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		b.Cause, b.Message, b.Hint = s.cause, s.say, s.hint
		if blamed := strings.Join(m[1:], ""); blamed != "" {
			b.Package, b.Message = blame(blamed, s.say)
		}
		return b
	}
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		b.Cause, b.Message = CauseToolMissing, fmt.Sprintf("%s cannot be run: %s", p.name, err)
	case err == nil:
		b.Message = p.name + " says that it failed"
	case answer.Exception != "":
		b.Message = fmt.Sprintf("%s ended with %s (%s)", p.name, exit.ProcessState, answer.Exception)
	case b.Output == "":
		b.Message = fmt.Sprintf("%s ended with %s and said nothing", p.name, exit.ProcessState)
	default:
		b.Message = fmt.Sprintf("%s ended with %s", p.name, exit.ProcessState)
	}
	return b
}

var leadingName = regexp.MustCompile(`^(?:\S+::)?(` + condaName + `)(.*)$`)

// blame is the name in a spec, and the message that says the spec without the stars that libmamba adds.
func blame(spec, say string) (name, message string) {
	m := leadingName.FindStringSubmatch(spec)
	version := strings.TrimSuffix(strings.TrimRight(m[2], " "), " *")
	if strings.Trim(version, "=* ") == "" {
		version = ""
	}
	return m[1], fmt.Sprintf(say, m[1]+version)
}
