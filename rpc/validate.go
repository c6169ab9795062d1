package rpc

import (
	"strings"
	"unicode"
)

// The checks of params beyond their types. [NewMethod] calls Validate before the method.

// Validate implements the check of daemon.info's params.
func (p InfoParams) Validate() *Error {
	if p.Client == nil {
		return nil
	}
	return firstError(checkText("client", &p.Client.Name), checkText("client", &p.Client.Version))
}

// Validate implements the check of daemon.set_log_level's params.
func (p LogLevel) Validate() *Error {
	return checkOneOf("level", p.Level, "debug", "info", "warn", "error")
}

// Validate implements the check of pool.acquire's params.
func (p AcquireParams) Validate() *Error {
	if w := p.WaitMS; w != nil && (*w < 0 || *w > MaxWait.Milliseconds()) {
		return BadParam("wait_ms", "wait_ms is %d, but must be from 0 to %d", *w, MaxWait.Milliseconds())
	}
	if p.OwnerPID != nil && *p.OwnerPID < 1 {
		return BadParam("owner_pid", "owner_pid is %d, but a process has a number from 1 on", *p.OwnerPID)
	}
	if l := p.LingerMS; l != nil && (*l < 0 || *l > MaxLinger.Milliseconds()) {
		return BadParam("linger_ms", "linger_ms is %d, but must be from 0 to %d", *l, MaxLinger.Milliseconds())
	}
	if p.LingerMS != nil && p.Session == nil {
		return BadParam("linger_ms", "linger_ms is for a session, and none is named")
	}
	if p.Session != nil && *p.Session == "" {
		return BadParam("session", "session is empty; leave it out for none")
	}
	return firstError(
		checkPool(p.Pool), checkText("label", p.Label), checkText("key", p.Key), checkText("session", p.Session), checkText("python", p.Python), p.checkNeeds(),
	)
}

// Names are the members in which two texts that differ must not become the same.
func (p AcquireParams) Names() []string {
	return []string{"key", "session", "python", "packages"}
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
			return BadParam("packages", "packages has one without a name")
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
		return BadParam(last, "packages, requirements and script have %d bytes together, but may have %d", size, MaxNeeds)
	}
	return nil
}

// Validate implements the check of pool.status's and pool.flush's params.
func (p PoolParams) Validate() *Error { return checkPool(p.Pool) }

// WantsProgress says whether the caller asked for $/progress.
func (p AcquireParams) WantsProgress() bool { return p.Progress != nil && *p.Progress }

// Validate implements the check of pool.release's params.
func (p EnvParams) Validate() *Error { return checkEnv(p.Env) }

// Validate implements the check of env.adopt's params.
func (p AdoptParams) Validate() *Error {
	if err := checkEnv(p.Env); err != nil {
		return err
	}
	if p.OwnerPID < 1 {
		return BadParam("owner_pid", "owner_pid is required: the process that the environment shall belong to, from 1 on")
	}
	return nil
}

// Validate implements the check of env.list's params.
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
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return BadParam(param, "%s is %.60q, but must be one of %s", param, value, strings.Join(allowed, ", "))
}

// checkText is for what ends up in logs, on terminals and in lease records.
func checkText(param string, s *string) *Error {
	switch {
	case s == nil:
		return nil
	case len(*s) > MaxLabel:
		return BadParam(param, "%s is %d bytes long, but may be %d", param, len(*s), MaxLabel)
	case strings.ContainsFunc(*s, unicode.IsControl):
		return BadParam(param, "%s holds a control character", param)
	}
	return nil
}

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
