package pyreq

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/redact"
)

// MaxRequirements bounds what one request may ask for.
const MaxRequirements = 1000

// The parts of a request, as pool.acquire names them.
const (
	inPackages     = "packages"
	inRequirements = "requirements"
	inScript       = "script"
	inPython       = "python"
)

// Request is what a caller wrote. The zero value asks for nothing.
type Request struct {
	Packages     []string // requirements (PEP 508)
	Requirements string   // the text of a requirements file
	Script       string   // the text of a script with metadata (PEP 723)
	Python       string   // a version, specifiers, or the absolute path of an interpreter
	Conda        bool     // packages are match specs, or requirements after CondaPyPI; the others become such
}

// CondaPyPI begins a requirement (PEP 508) among match specs.
const CondaPyPI = "pypi:"

// Needs is what a [Request] asks for, in one form.
type Needs struct {
	Packages       []string // requirements, sorted
	Python         string   // a version, specifiers, or an absolute path
	RequiresPython string   // specifiers that the interpreter at that path must satisfy
	Locked         []string // lines of the requirements file, if it has hashes: with them, sorted
}

// Error says which part of a [Request] is wrong.
type Error struct {
	Param, Message, Hint string
}

func (e *Error) Error() string { return e.Message }

// Needs reads the request. The error is an *[Error].
func (r Request) Needs() (n Needs, err error) {
	for _, text := range r.Packages {
		spec, ofPyPI := strings.CutPrefix(text, CondaPyPI)
		if r.Conda && !ofPyPI {
			if problem := checkMatchSpec(text); problem != "" {
				return Needs{}, badWith(inPackages, `write each as "numpy", "numpy>=2,<3" or "pypi:rich"`,
					"packages has %s, which %s", brief(text), problem)
			}
			n.Packages = append(n.Packages, strings.TrimSpace(text))
			continue
		}
		if !r.Conda {
			spec = text
		}
		requirement, problem := readRequirement(spec)
		if problem != "" {
			return Needs{}, bad(inPackages, text, "packages has %s, which %s", brief(text), problem)
		}
		n.Packages = append(n.Packages, r.form(requirement))
	}
	list, locked, err := readRequirements(r.Requirements)
	if err != nil {
		return Needs{}, err
	}
	block, err := readScript(r.Script)
	if err != nil {
		return Needs{}, err
	}
	for _, requirement := range slices.Concat(list, block.dependencies) {
		n.Packages = append(n.Packages, r.form(requirement))
	}
	if len(locked) > 0 {
		if err := r.onlyLocked(locked, n.Packages); err != nil {
			return Needs{}, err
		}
		for _, e := range locked {
			n.Locked = append(n.Locked, e.Requirement+" --hash="+strings.Join(e.Hashes, " --hash="))
		}
		slices.Sort(n.Locked)
		n.Locked = slices.Compact(n.Locked)
	}
	if n.Python, n.RequiresPython, err = readPython(r.Python, block.requiresPython); err != nil {
		return Needs{}, err
	}
	slices.Sort(n.Packages)
	n.Packages = slices.Compact(n.Packages)
	if len(n.Packages) > MaxRequirements {
		return Needs{}, bad(inPackages, "", "%d requirements are asked for, but may be %d", len(n.Packages),
			MaxRequirements)
	}
	return n, nil
}

// onlyLocked refuses what is asked for beside a requirements file with hashes and is not in it.
func (r Request) onlyLocked(locked []Locked, all []string) error {
	if r.Conda {
		return badWith(inRequirements, "leave the hashes out, or take an environment of a pool of the kind uv",
			"requirements has hashes, which are for pools of the kind uv")
	}
	for _, o := range all {
		lacks := Lock{Entries: locked}.Lacks(o)
		if lacks == "" {
			continue
		}
		return badWith(inRequirements, "lock all of it together: uv pip compile --generate-hashes",
			"requirements has hashes, so all that is asked for needs them, and it %s for %s", lacks, brief(o))
	}
	return nil
}

// form is a requirement as one of the needs.
func (r Request) form(requirement string) string {
	if r.Conda {
		return CondaPyPI + requirement
	}
	return requirement
}

// checkMatchSpec says what is wrong with a text that the solver is to read as a match spec.
func checkMatchSpec(text string) string {
	name := strings.TrimSpace(text)
	switch {
	case name == "":
		return "names no package"
	case strings.HasPrefix(name, "-"):
		return "is an option, and options are not taken"
	case strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
		return "holds what is no text"
	case strings.ContainsAny(name, "/\\") && !strings.Contains(name, "::"):
		return "is a path or a URL, which is not taken"
	}
	return ""
}

// bad is the error for a part of a request, with the next step that fits the requirement.
func bad(param, requirement, format string, args ...any) *Error {
	return &Error{param, fmt.Sprintf(format, args...), hint(param, requirement)}
}

func badWith(param, hint, format string, args ...any) *Error {
	return &Error{param, fmt.Sprintf(format, args...), hint}
}

func hint(param, text string) string {
	text = strings.TrimSpace(text)
	option, _, _ := strings.Cut(strings.Replace(text, "=", " ", 1), " ")
	name, version, _ := strings.Cut(text, "@")
	name, version = strings.TrimSpace(name), strings.TrimSpace(version)
	switch {
	case strings.HasPrefix(text, "-e"), option == "--editable":
		return "it would be a folder's; install that into the environment once you have it: pip install -e FOLDER"
	case strings.HasPrefix(text, "-r"), strings.HasPrefix(text, "-c"), option == "--requirement",
		option == "--constraint":
		return "put what is in that file in its place"
	case strings.HasPrefix(text, "-"):
		return "leave it out; the index and what belongs to it come from the daemon's configuration"
	case versionAfterAt().MatchString(text):
		return "write it as " + name + "==" + version
	case latestAfterAt().MatchString(text):
		return "write it as " + name + ": the newest is taken by itself"
	case oneEqual().MatchString(text):
		return "write it as " + strings.Replace(text, "=", "==", 1)
	}
	return map[string]string{
		inPackages:     `write each as "numpy", "numpy>=2,<3" or "numpy @ https://…"`,
		inRequirements: `correct that line; it may be like "numpy", "numpy>=2,<3" or "numpy @ https://…"`,
		inScript:       "correct the script's metadata; it is between the lines # /// script and # ///",
		inPython:       `write it as "3.12", "3.12.4", ">=3.11,<3.14" or an absolute path`,
	}[param]
}

var (
	versionAfterAt = lazyregexp.New(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*@\s*v?\d[\w.!+*-]*$`)
	latestAfterAt  = lazyregexp.New(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*@\s*latest$`)
	oneEqual       = lazyregexp.New(`^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*=\s*\d[\w.!+*-]*$`)
)

// brief is what a caller wrote, fit for a message.
func brief(s string) string {
	const most = 80
	s = redact.Text(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
