package rpc

import (
	"slices"
	"strings"
	"unicode"

	"runtimed/internal/lazyregexp"
)

// The checks of params beyond their types. The server calls Validate before the method.

func (p InfoParams) Validate() *Error {
	if p.Client == nil {
		return nil
	}
	return firstError(checkText("client", &p.Client.Name), checkText("client", &p.Client.Version))
}

func (p LogLevel) Validate() *Error {
	return checkOneOf("level", p.Level, "debug", "info", "warn", "error")
}

func (p LockParams) Validate() *Error { return firstError(checkPool(p.Pool), checkWait(p.WaitMS)) }

func checkWait(ms *int64) *Error {
	if most := MaxWait.Milliseconds(); ms != nil && (*ms < 0 || *ms > most) {
		return BadParam("wait_ms", "wait_ms is %d, but must be from 0 to %d", *ms, most)
	}
	return nil
}

func (p AcquireParams) Validate() *Error {
	switch linger := MaxLinger.Milliseconds(); {
	case checkWait(p.WaitMS) != nil:
		return checkWait(p.WaitMS)
	case p.OwnerPID != nil && *p.OwnerPID < 1:
		return BadParam("owner_pid", "owner_pid is %d, but process numbers start at 1", *p.OwnerPID)
	case p.LingerMS != nil && (*p.LingerMS < 0 || *p.LingerMS > linger):
		return BadParam("linger_ms", "linger_ms is %d, but must be from 0 to %d", *p.LingerMS, linger)
	case p.LingerMS != nil && p.Session == nil:
		return BadParam("linger_ms", "linger_ms is for a session, but none is named")
	case p.Session != nil && *p.Session == "":
		return BadParam("session", "session is empty; leave it out for none")
	}
	return firstError(checkPool(p.Pool), checkText("label", p.Label), checkText("key", p.Key),
		checkText("session", p.Session), checkText("python", p.Python), p.checkNeeds(), p.Project.check())
}

// Names are the members whose texts are compared, and not only shown.
func (p AcquireParams) Names() []string {
	return []string{"key", "session", "python", "packages", "project"}
}

func (p AcquireParams) checkNeeds() *Error {
	size, last := 0, ""
	count := func(param string, n int) {
		if n > 0 {
			size, last = size+n, param
		}
	}
	for _, r := range p.Packages {
		if strings.TrimSpace(r) == "" {
			return BadParam("packages", "packages has an item without a name")
		}
		count("packages", len(r))
	}
	if p.Requirements != nil {
		count("requirements", len(*p.Requirements))
	}
	if p.Script != nil {
		count("script", len(*p.Script))
	}
	if size > MaxNeeds {
		return BadParam(last, "packages, requirements and script are %d bytes together, and at most %d are allowed",
			size, MaxNeeds)
	}
	return nil
}

// check looks at the texts only: the daemon looks for the project.
func (p *ProjectParams) check() *Error {
	switch {
	case p == nil:
		return nil
	case p.Path == "":
		return BadParam("project", "project names no path")
	case len(p.Path) > MaxPath || strings.ContainsRune(p.Path, 0):
		return BadParam("project", "the path of project is no path, or longer than %d bytes", MaxPath)
	case len(p.Extras)+len(p.Groups) > MaxNames:
		return BadParam("project", "project has more than %d extras and groups", MaxNames)
	}
	for _, name := range slices.Concat(p.Extras, p.Groups) {
		if !projectName().MatchString(name) {
			return BadParam("project", "project has %.60q, which is no name of an extra or a group", name)
		}
	}
	return nil
}

// projectName is a name as in the specification of core metadata (Provides-Extra).
var projectName = lazyregexp.New(`^([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]{0,126}[A-Za-z0-9])$`)

func (p AcquireParams) WantsProgress() bool { return p.Progress != nil && *p.Progress }

func (p PoolParams) Validate() *Error { return checkPool(p.Pool) }

func (p EnvParams) Validate() *Error { return checkEnv(p.Env) }

func (p AdoptParams) Validate() *Error {
	if err := checkEnv(p.Env); err != nil {
		return err
	}
	if p.OwnerPID < 1 {
		return BadParam("owner_pid",
			"owner_pid is required: the process that owns the environment, from 1 on")
	}
	return nil
}

func (p EnvListParams) Validate() *Error {
	if err := checkPool(p.Pool); err != nil || p.State == nil {
		return err
	}
	return checkOneOf("state", *p.State, EnvWarming, EnvReady, EnvLeased, EnvRemoving)
}

func checkPool(name *string) *Error {
	if name != nil && *name == "" {
		return BadParam("pool", "pool is empty; leave it out for the default")
	}
	return nil
}

func checkEnv(id string) *Error {
	if id == "" {
		return BadParam("env", "env is required: the id of an environment")
	}
	return nil
}

func checkOneOf(param, value string, allowed ...string) *Error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return BadParam(param, "%s is %.60q, but must be one of %s", param, value, strings.Join(allowed, ", "))
}

// checkText is for what ends up in logs, on terminals and in lease records.
func checkText(param string, s *string) *Error {
	switch {
	case s == nil:
		return nil
	case len(*s) > MaxLabel:
		return BadParam(param, "%s is %d bytes long, and at most %d are allowed", param, len(*s), MaxLabel)
	case strings.ContainsFunc(*s, unicode.IsControl):
		return BadParam(param, "%s holds a control character", param)
	}
	return nil
}

// BadParam is an error of kind invalid_params about one member.
func BadParam(param, format string, args ...any) *Error {
	err := Errorf(KindInvalidParams, format, args...)
	err.Data.Param = param
	return err
}

func firstError(errs ...*Error) *Error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
