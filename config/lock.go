package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"runtimed/internal/pyreq"
)

// pin reads the lock file of a pool, which then says all that its environments have. It returns the key at fault, and
// what is wrong with it.
func (c *Config) pin(p *Pool) (key, fault string) {
	_, named := c.Origins["pools."+p.Name+".packages"]
	origin := c.Origins["pools."+p.Name+".lock"]
	switch {
	case strings.HasPrefix(p.Lock, "~"):
		return "lock", "must be a path from the root or from the folder of this file, got " + show(p.Lock)
	case !filepath.IsAbs(p.Lock):
		file := origin[:strings.LastIndex(origin, ":")]
		p.Lock = filepath.Join(filepath.Dir(file), p.Lock)
	}
	data, err := readUpTo(p.Lock, true, pyreq.MaxLock)
	if err != nil {
		return "lock", fmt.Sprintf("%s cannot be read: %s", p.Lock, err) + c.whose(origin)
	}
	locked, err := pyreq.Lock{}, error(nil)
	if p.Kind == KindConda {
		locked, err = pyreq.ReadCondaLock(string(data))
	} else {
		locked, err = pyreq.ReadLock(string(data), true)
	}
	if e, ok := errors.AsType[*pyreq.LockError](err); ok {
		where := p.Lock
		if e.Line > 0 {
			where = fmt.Sprintf("%s:%d:", p.Lock, e.Line)
		}
		return "lock", where + " " + e.Says + "; " + e.Hint + c.whose(origin)
	}
	if !named {
		p.Packages = nil // those that finish adds are what an environment cannot do without
	}
	switch want := locked.Python; {
	case want == "" || filepath.IsAbs(p.Python) || strings.HasPrefix(p.Python, want+"."):
	case p.Python == "" || strings.HasPrefix(want, p.Python+"."), p.Python == want:
		p.Python, c.Origins["pools."+p.Name+".python"] = want, p.Lock
	default:
		return "python", fmt.Sprintf("must be %q, since %s is for that, got %q", want, p.Lock, p.Python)
	}
	p.Locked = &locked
	return "", ""
}

// ofSystem reports whether a value is from the administrator's file.
func (c *Config) ofSystem(origin string) bool {
	return c.System != "" && strings.HasPrefix(origin, c.System+":")
}

// whose is what somebody can do about a lock file that is not theirs.
func (c *Config) whose(origin string) string {
	if !c.ofSystem(origin) {
		return ""
	}
	return `; it is the administrator's to correct, and lock = "" in ` + c.Path + " does without"
}

// unpin has a user's own packages or python, which come after the administrator's file, go before the lock file that is
// named there. False means that the lock file is of the same file, or not at odds with them.
func (c *Config) unpin(p *Pool, asked Pool, key, problem string) bool {
	pool := "pools." + p.Name + "."
	own := c.Origins[pool+key]
	if key == "lock" || own == "" || c.ofSystem(own) || !c.ofSystem(c.Origins[pool+"lock"]) {
		return false
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s%s goes before %slock: %s", own, pool, key, pool, problem))
	if p.Locked == nil { // it got no further than to python
		p.Packages = asked.Packages
	}
	if p.Python != asked.Python {
		delete(c.Origins, pool+"python")
	}
	p.Lock, p.Locked, p.Python, c.Origins[pool+"lock"] = "", nil, asked.Python, own
	return true
}

// unlocked says which of the packages of a pool its lock file does not have.
func (p *Pool) unlocked() string {
	if p.Locked == nil {
		return ""
	}
	for _, s := range p.Packages {
		lacks := p.Locked.Lacks(s)
		if m := leadName().FindStringSubmatch(s); m != nil && p.Kind == KindConda {
			if lacks = ""; len(p.Locked.Named(strings.ToLower(m[2]))) == 0 { // versions are for the solver to compare
				lacks = "has no " + m[2]
			}
		}
		if lacks != "" && pyreq.NormalName(s) == "ipykernel" {
			return fmt.Sprintf("%s %s, which every environment needs; lock it together with the others", p.Lock, lacks)
		}
		if lacks != "" {
			return fmt.Sprintf("%s %s, and packages has %s; leave packages out, or make the lock file anew", p.Lock,
				lacks, show(s))
		}
	}
	return ""
}
