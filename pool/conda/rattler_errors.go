package conda

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"runtimed/internal/redact"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

// rattlerSymptoms are tried in this order: rattler prints whole chains of causes.
var rattlerSymptoms = []builder.Symptom{
	{
		Cause: builder.CauseAuth, Text: regexp.MustCompile(`407 Proxy Authentication`),
		Say:  "the proxy refused access",
		Hint: "check the user name and password of the proxy; the daemon has the variables of its start",
	},
	{
		Cause: builder.CauseAuth, Text: regexp.MustCompile(`401 Unauthorized|403 Forbidden`),
		Say:  "a channel refused access",
		Hint: "check the user name, password or token of the channel, in its URL or where rattler keeps credentials",
	},
	{
		Cause: builder.CauseNetwork, Text: regexp.MustCompile(`invalid peer certificate`),
		Say:  "the certificate of a channel is not trusted here",
		Hint: "SSL_CERT_FILE must name the certificates that vouch for it",
	},
	{
		Cause: builder.CauseNetwork,
		Text: regexp.MustCompile(
			`(?i)error sending request|dns error|connection (?:refused|reset|closed)|status server error|` +
				`error decoding response body|error reading a body|no usable repodata cache`),
		Say:  "a channel cannot be reached",
		Hint: "check the network, the proxy and the channel; it is tried again by itself",
	},
	{
		Cause: builder.CauseNetwork,
		Text:  regexp.MustCompile(`status client error|^\[Errno 2\] No such file or directory`),
		Say:   "a channel does not have what it lists", Hint: "it is tried again by itself",
	},
	{
		Cause: builder.CauseCorrupt,
		Text: regexp.MustCompile(
			`(?i)hash mismatch|data corruption|invalid checksum|failed to unpack|failed to extract|` +
				`failed to parse|EOF while parsing|an io error occurred: [^(\n]*(?:\n|$)`),
		Say: "what a channel sent is damaged",
		Hint: "something between here and the channel alters files, or the channel is broken; it is tried again by " +
			"itself",
	},
	{
		Cause: builder.CauseOther, Text: regexp.MustCompile(`cannot be longer than the placeholder prefix`),
		Say:  "the path of the environment is longer than conda packages allow",
		Hint: "cache_dir in the configuration names a place with a shorter path",
	},
	{
		Cause: builder.CausePermission,
		Text: regexp.MustCompile(
			`Read-only file system|os error 30\b|Permission denied|os error 13\b|no eligible writable layers`),
		Say:  "a file cannot be written",
		Hint: "the state directory must be writable; cache_dir in the configuration names another",
	},
}

var noSubdir = regexp.MustCompile(`could not find subdir '([^']+)' in channel '([^']+)'`)

// rattlerError classifies a failure by the helper's last event, or by how it ended without one.
func rattlerError(last helperEvent, output string, err error) *builder.Error {
	if last.Event != "error" {
		return helperEnded(output, err)
	}
	text := redact.Text(last.Text)
	b := &builder.Error{Cause: builder.CauseOther,
		Output: strings.ToValidUTF8(text[:min(len(text), tool.OutputTail)], "")}
	if s := builder.MachineSymptom(text); s != nil {
		b.Cause, b.Message, b.Hint, b.Machine = s.Cause, s.Say, s.Hint, true
		return b
	}
	switch last.Type {
	case "SolverError":
		switch {
		case len(last.Missing) == 1:
			b.Cause, b.Message = builder.CausePackageNotFound,
				fmt.Sprintf("the package %s is not in the channels", last.Missing[0])
		case len(last.Missing) > 1:
			b.Cause, b.Message = builder.CausePackageNotFound,
				fmt.Sprintf("the packages %s are not in the channels", strings.Join(last.Missing, ", "))
		default:
			b.Cause, b.Message = builder.CauseUnsatisfiable, "the packages cannot be installed together"
			b.Hint = "loosen the versions in the pool's packages, or choose another python"
			return b
		}
		b.Package, b.Hint = last.Missing[0], "correct the name in the pool's packages, or name the channel that has it"
		return b
	case "Timeout":
		b.Cause, b.Message, b.Output = builder.CauseTimeout, text, ""
		b.Hint = "check the network, the proxy and the channel; it is tried again by itself"
		return b
	case "SolverTimeout":
		b.Cause, b.Message, b.Output = builder.CauseTimeout, text, ""
		b.Hint = "name versions in the pool's packages, so that there is less to choose from"
		return b
	case "InvalidMatchSpecError":
		b.Package = redact.Text(last.Spec)
		b.Message = fmt.Sprintf("%q is written in a way that rattler cannot read", b.Package)
		b.Hint = "correct the pool's packages"
		return b
	case "InvalidChannelError", "CredentialsError":
		b.Message, b.Hint = "one of the pool's channels cannot be used", "correct the pool's channels"
		return b
	case "ParseCondaLockError":
		b.Cause, b.Message, b.Hint = builder.CauseCorrupt, "the lock file cannot be used", "it is made anew by itself"
		return b
	case "ConfigError", "AuthenticationStorageError":
		b.Message = "the user's configuration of rattler cannot be read"
		b.Hint = "correct the file that the output names, or the config.toml of rattler"
		return b
	case "ScriptError":
		b.Message, b.Output, b.Hint = text, "", "what the package needs to be set up may be missing on this machine"
		return b
	case "Incomplete":
		b.Cause, b.Message, b.Hint = builder.CauseVerifyFailed, "rattler did not install every package",
			"it is tried again by itself"
		return b
	}
	if m := noSubdir.FindStringSubmatch(text); m != nil {
		b.Message, b.Hint = fmt.Sprintf("%s is no conda channel: it has no %s", m[2], m[1]),
			"correct the pool's channels"
		return b
	}
	for _, s := range rattlerSymptoms {
		if s.Text.MatchString(text) {
			b.Cause, b.Message, b.Hint = s.Cause, s.Say, s.Hint
			return b
		}
	}
	b.Message, b.Hint = "rattler failed with "+last.Type,
		"see the output; conda.provider in the configuration names another tool"
	if strings.Contains(last.Type, "Panic") {
		b.Message = "rattler broke off, which is a fault of its own"
		b.Output = strings.TrimSpace(output + "\n" + b.Output)
	}
	return b
}

// helperEnded is the failure of a helper that ended without an event.
func helperEnded(output string, err error) *builder.Error {
	b := &builder.Error{Cause: builder.CauseOther, Output: output, Hint: "it is tried again by itself"}
	if m := builder.MachineError("rattler", output, err); m != nil {
		return m
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		b.Message = fmt.Sprintf("rattler ended before it was done: %s", exit.ProcessState)
	case err != nil:
		b.Message = fmt.Sprintf("rattler cannot be run: %s", err)
	default:
		b.Message = "rattler ended, and did not say whether it was done"
	}
	return b
}
