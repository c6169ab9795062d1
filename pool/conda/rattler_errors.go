package conda

import (
	"cmp"
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

// rattlerSymptoms are tried in this order: rattler prints whole chains of causes.
var rattlerSymptoms = slices.Concat(builder.Symptoms{
	builder.When(builder.CauseAuth, "the proxy refused access",
		"check the user name and password of the proxy; the daemon has the variables of its start",
		`407 Proxy Authentication`),
	builder.When(builder.CauseAuth, "a channel refused access",
		"check the user name, password or token of the channel, in its URL or where rattler keeps credentials",
		`401 Unauthorized|403 Forbidden`),
}, builder.CertificateSymptoms("a channel"), builder.Symptoms{
	builder.When(builder.CauseNetwork, "a channel cannot be reached",
		"check the network, the proxy and the channel; it is tried again by itself",
		`(?i)error sending request|dns error|connection (?:refused|reset|closed)|status server error`,
		`error decoding response body|error reading a body|no usable repodata cache`),
	builder.When(builder.CauseNetwork, "a channel does not have what it lists", builder.ByItself,
		`status client error|^\[Errno 2\] No such file or directory`),
	builder.When(builder.CauseCorrupt, "what a channel sent is damaged",
		"something between here and the channel alters files, or the channel is broken; it is tried again by itself",
		`(?i)hash mismatch|data corruption|invalid checksum|failed to unpack|failed to extract`,
		`failed to parse|EOF while parsing|an io error occurred: [^(\n]*(?:\n|$)`),
	builder.When(builder.CauseOther, "the path of the environment is longer than conda packages allow",
		"cache_dir in the configuration names a place with a shorter path",
		`cannot be longer than the placeholder prefix`),
	builder.When(builder.CausePermission, "a file cannot be written",
		"the state directory must be writable; cache_dir in the configuration names another",
		`Read-only file system|os error 30\b|Permission denied|os error 13\b|no eligible writable layers`),
})

var noSubdir = regexp.MustCompile(`could not find subdir '([^']+)' in channel '([^']+)'`)

// rattlerTypes are the failures that rattler tells by the type of its exception. Those without a message have the
// exception's.
var rattlerTypes = map[string]builder.Error{
	"Timeout": {Cause: builder.CauseTimeout,
		Hint: "check the network, the proxy and the channel; it is tried again by itself"},
	"SolverTimeout": {Cause: builder.CauseTimeout,
		Hint: "name versions in the pool's packages, so that there is less to choose from"},
	"InvalidChannelError": badChannel, "CredentialsError": badChannel,
	"ParseCondaLockError": {Cause: builder.CauseCorrupt, Message: "the lock file cannot be used",
		Hint: "it is made anew by itself"},
	"ConfigError": badConfig, "AuthenticationStorageError": badConfig,
	"ScriptError": {Cause: builder.CauseOther,
		Hint: "what the package needs to be set up may be missing on this machine"},
	"PixiLockError":   {Cause: builder.CauseOther, Hint: "make the lock file anew: pixi lock"},
	"PixiSourceError": {Cause: builder.CauseOther, Hint: "install the project with pixi itself"},
	"PixiPlatformError": {Cause: builder.CauseOther,
		Hint: "add this platform to the platforms of the project, then: pixi lock"},
	"PixiLockOutdated": {Cause: builder.CauseLockOutdated,
		Hint: "bring it up to date with: pixi lock; or ask for it as it is (--frozen)"},
	"Incomplete": {Cause: builder.CauseVerifyFailed, Message: "rattler did not install every package",
		Hint: builder.ByItself},
}

var (
	badChannel = builder.Error{Cause: builder.CauseOther, Message: "one of the pool's channels cannot be used",
		Hint: "correct the pool's channels"}
	badConfig = builder.Error{Cause: builder.CauseOther, Message: "the user's configuration of rattler cannot be read",
		Hint: "correct the file that the output names, or the config.toml of rattler"}
)

// failed classifies a failure by the helper's last event, or by how it ended without one.
func (r *rattler) failed(last helperEvent, output string, err error) *builder.Error {
	if last.Event != "error" {
		return helperEnded(output, err)
	}
	text := redact.Text(last.Text)
	shown := strings.ToValidUTF8(text[:min(len(text), tool.OutputTail)], "")
	b := cmp.Or(builder.MachineSymptom(text), last.byType(text), rattlerSymptoms.Find(text))
	switch {
	case b != nil && b.Message == "":
		b.Message = text
		return b
	case b == nil && strings.Contains(last.Type, "Panic"):
		b = &builder.Error{Cause: builder.CauseOther, Message: "rattler broke off, which is a fault of its own"}
		shown = strings.TrimSpace(output + "\n" + shown)
	case b == nil:
		b = &builder.Error{Cause: builder.CauseOther, Message: "rattler failed with " + last.Type}
	}
	b.Vouch(builder.CertFile, tool.Lookup(r.c.environ, builder.CertFile), "; or have this system trust that authority")
	b.Hint = cmp.Or(b.Hint, "see the output; conda.provider in the configuration names another tool")
	b.Output = shown
	return b
}

// byType is what the type of the exception tells, or nil.
func (e helperEvent) byType(text string) *builder.Error {
	b, known := rattlerTypes[e.Type]
	m := noSubdir.FindStringSubmatch(text)
	switch {
	case known:
	case e.Type == "SolverError" && len(e.Missing) == 0:
		b = builder.Error{Cause: builder.CauseUnsatisfiable, Message: "the packages cannot be installed together",
			Hint: "loosen the versions in the pool's packages, or choose another python"}
	case e.Type == "SolverError":
		b = builder.Error{Cause: builder.CausePackageNotFound, Package: e.Missing[0],
			Message: fmt.Sprintf("the package %s is not in the channels", e.Missing[0]),
			Hint:    "correct the name in the pool's packages, or name the channel that has it"}
		if len(e.Missing) > 1 {
			b.Message = fmt.Sprintf("the packages %s are not in the channels", strings.Join(e.Missing, ", "))
		}
	case e.Type == "InvalidMatchSpecError":
		b = builder.Error{Cause: builder.CauseOther, Package: redact.Text(e.Spec),
			Message: fmt.Sprintf("%q is written in a way that rattler cannot read", redact.Text(e.Spec)),
			Hint:    "correct the pool's packages"}
	case m != nil:
		b = builder.Error{Cause: builder.CauseOther, Hint: "correct the pool's channels",
			Message: fmt.Sprintf("%s is not a conda channel: it has no %s", m[2], m[1])}
	default:
		return nil
	}
	return &b
}

// helperEnded is the failure of a helper that ended without an event.
func helperEnded(output string, err error) *builder.Error {
	if b := builder.MachineError("rattler", output, err); b != nil {
		return b
	}
	b := builder.Ended("rattler", output, err)
	b.Hint = builder.ByItself
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		b.Message = fmt.Sprintf("rattler ended before it was done: %s", exit.ProcessState)
	case err == nil:
		b.Message = "rattler ended, and did not say whether it was done"
	}
	return b
}
