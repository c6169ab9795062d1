package builder

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// machineSymptoms are what any tool prints if the machine is at fault. They come first, since tools wrap them in
// messages of their own, such as "failed to fetch".
var machineSymptoms = Symptoms{
	When(CauseDiskFull, "the disk is full", "free some space; that may be where TMPDIR or the tool's cache is",
		`(?i)No space left on device|os error 28\b|Errno (?:28|122)\b|Disk quota exceeded`,
		`not enough space on the disk`),
	When(CauseOther, "too many files are open",
		"raise the bound on open files for the daemon (ulimit -n; LimitNOFILE of its service), or lower build.parallel",
		`(?i)Too many open files|os error 24\b|Errno 2[34]\b|\bEMFILE\b`),
	When(CauseOther, "there is too little memory", "close other programs, or lower build.parallel",
		`(?i)Cannot allocate memory|os error 12\b|Errno 12\b|memory allocation of \d+ bytes failed`,
		`\bMemoryError\b|\bstd::bad_alloc\b|paging file is too small`),
	When(CauseOther, "a path is too long for this system",
		"cache_dir in the configuration names a place with a shorter path",
		`(?i)File name too long|os error (?:36|63)\b|Errno (?:36|63)\b|filename or extension is too long`,
		`path too long`),
	When(CauseOther, "a command line with its environment is too long for this system",
		"start the daemon with fewer or shorter variables, or name fewer packages",
		`(?i)Argument list too long|os error 7\b|Errno 7\b`),
	When(CauseOther, "a disk reports an error",
		"look at that disk and at the system's log; the tool's lines may name the file",
		`(?i)Input/output error|Errno 5\b|Structure needs cleaning|Stale (?:NFS )?file handle`),
}

// MachineSymptom returns the fault of the machine that text tells of, or nil.
func MachineSymptom(text string) *Error {
	b := machineSymptoms.Find(text)
	if b != nil {
		b.Machine = true
	}
	return b
}

// MachineError returns the fault of the machine that ended a tool or kept it from starting, or nil. What a tool
// printed before a signal ended it explains nothing. An err that is an *Error already says why.
func MachineError(what, output string, err error) *Error {
	var told *Error
	var exit *exec.ExitError
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &exit) && strings.HasPrefix(exit.ProcessState.String(), "signal: "):
		b := Ended(what, output, err)
		b.Machine = true
		if strings.HasPrefix(exit.ProcessState.String(), "signal: killed") {
			b.Hint = "somebody else ended it; if the system did, for want of memory, its log says so"
		}
		return b
	case err != nil && exit == nil:
		output = strings.TrimSpace(output + "\n" + err.Error())
	}
	b := MachineSymptom(output)
	if b != nil {
		b.Output = output
	}
	return b
}

// Symptom is a text that a tool prints for one cause of failure. uv has no exit codes or JSON for them.
type Symptom struct {
	cause, say, hint string
	text             *regexp.Regexp
}

// When returns the symptom for any of these patterns. What their groups match is the requirement or match spec at
// fault, which stands in say as %s.
func When(cause, say, hint string, patterns ...string) Symptom {
	return Symptom{cause, say, hint, regexp.MustCompile(strings.Join(patterns, "|"))}
}

// Symptoms are tried in their order.
type Symptoms []Symptom

// leadingName splits a match spec into its package and the rest.
var leadingName = regexp.MustCompile(`^(?:\S+::)?([A-Za-z0-9_][A-Za-z0-9._-]*)(.*)$`)

// Find returns the failure for the first symptom in text, or nil.
func (all Symptoms) Find(text string) *Error {
	for _, s := range all {
		m := s.text.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		b := &Error{Cause: s.cause, Message: s.say, Hint: s.hint}
		if spec := leadingName.FindStringSubmatch(strings.Join(m[1:], "")); spec != nil {
			version := strings.TrimSuffix(strings.TrimRight(spec[2], " "), " *") // libmamba adds stars
			if strings.Trim(version, "=* ") == "" {
				version = ""
			}
			b.Package, b.Message = spec[1], fmt.Sprintf(s.say, spec[1]+version)
		}
		return b
	}
	return nil
}

// Known returns why the tool what failed, by the symptoms in text or by err, or nil if neither tells. shown is what
// people see of its output.
func (all Symptoms) Known(what, text, shown string, err error) *Error {
	b := MachineError(what, text, err)
	if b == nil {
		b = all.Find(text)
	}
	if b != nil {
		b.Output = cmp.Or(shown, b.Output)
	}
	return b
}

// Ended is the failure of a tool that did not tell why.
func Ended(what, output string, err error) *Error {
	b := &Error{Cause: CauseOther, Output: output, Hint: "see the tool's output"}
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		b.Message = fmt.Sprintf("%s cannot be run: %v", what, err)
	case output == "":
		b.Message = fmt.Sprintf("%s ended with %s and said nothing", what, exit.ProcessState)
	default:
		b.Message = fmt.Sprintf("%s ended with %s", what, exit.ProcessState)
	}
	return b
}
