package builder

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// machineSymptoms are what any tool prints if the machine is at fault. They come first, since tools wrap them in
// messages of their own, such as "failed to fetch".
var machineSymptoms = []Symptom{
	{
		CauseDiskFull, regexp.MustCompile(
			`(?i)No space left on device|os error 28\b|Errno (?:28|122)\b|Disk quota exceeded|` +
				`not enough space on the disk`),
		"the disk is full", "free some room; that may be where TMPDIR or the tool's cache is",
	},
	{
		CauseOther, regexp.MustCompile(`(?i)Too many open files|os error 24\b|Errno 2[34]\b|\bEMFILE\b`),
		"too many files are open",
		"raise the bound on open files for the daemon (ulimit -n; LimitNOFILE of its service), or lower build.parallel",
	},
	{
		CauseOther, regexp.MustCompile(
			`(?i)Cannot allocate memory|os error 12\b|Errno 12\b|memory allocation of \d+ bytes failed|` +
				`\bMemoryError\b|\bstd::bad_alloc\b|paging file is too small`),
		"there is too little memory", "close other programs, or lower build.parallel",
	},
	{
		CauseOther, regexp.MustCompile(
			`(?i)File name too long|os error (?:36|63)\b|Errno (?:36|63)\b|filename or extension is too long|` +
				`path too long`),
		"a path is too long for this system", "cache_dir in the configuration names a place with a shorter path",
	},
	{
		CauseOther, regexp.MustCompile(`(?i)Argument list too long|os error 7\b|Errno 7\b`),
		"a command line with its environment is too long for this system",
		"start the daemon with fewer or shorter variables, or name fewer packages",
	},
	{
		CauseOther, regexp.MustCompile(
			`(?i)Input/output error|Errno 5\b|Structure needs cleaning|Stale (?:NFS )?file handle`),
		"a disk reports an error", "look at that disk and at the system's log; the tool's lines may name the file",
	},
}

// MachineSymptom returns the first symptom in text, or nil.
func MachineSymptom(text string) *Symptom {
	for i, s := range machineSymptoms {
		if s.Text.MatchString(text) {
			return &machineSymptoms[i]
		}
	}
	return nil
}

// MachineError returns the fault of the machine that ended a tool or kept it from starting, or nil. What a tool
// printed before a signal ended it explains nothing.
func MachineError(what, output string, err error) *Error {
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && strings.HasPrefix(exit.ProcessState.String(), "signal: "):
		b := &Error{Cause: CauseOther, Message: fmt.Sprintf("%s ended with %s", what, exit.ProcessState),
			Output: output, Hint: "see the tool's output", Machine: true}
		if strings.HasPrefix(exit.ProcessState.String(), "signal: killed") {
			b.Hint = "somebody else ended it; if the system did, for want of memory, its log says so"
		}
		if output == "" {
			b.Message += " and said nothing"
		}
		return b
	case err != nil && exit == nil:
		output = strings.TrimSpace(output + "\n" + err.Error())
	}
	s := MachineSymptom(output)
	if s == nil {
		return nil
	}
	return &Error{Cause: s.Cause, Message: s.Say, Hint: s.Hint, Output: output, Machine: true}
}

// Symptom is a text that a tool prints for one cause of failure. uv has no exit codes or JSON for them.
type Symptom struct {
	Cause string
	Text  *regexp.Regexp // a first group, if any, is the package at fault
	Say   string         // with %s for that package
	Hint  string
}
