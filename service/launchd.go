package service

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

// launchd manages an agent in the domain of the graphical login.
type launchd struct{ person }

const label = statedir.LaunchdLabel

//go:embed launchd.plist.tmpl
var plistText string

var plistTemplate = template.Must(template.New("plist").Funcs(template.FuncMap{"xml": xmlText}).Parse(plistText))

var plistValue = lazyregexp.New(`<key>([^<]*)</key>\s*<(?:string>([^<]*)</string|(true|false)/)>`)

func plist(path string, c Config) (File, error) {
	text, err := c.render(plistTemplate, "a property list", c)
	return File{Path: path, Data: text, Mode: 0o600}, err
}

func (m *launchd) Name() string { return "launchd" }

func (m *launchd) path() string {
	return filepath.Join(m.env("HOME"), "Library", "LaunchAgents", label+".plist")
}

func (m *launchd) domain() string { return fmt.Sprintf("gui/%d", m.uid) }
func (m *launchd) target() string { return m.domain() + "/" + label }

func (m *launchd) files(c Config) ([]File, error) {
	f, err := plist(m.path(), c)
	return append(slices.Clone(c.Copies), f), err
}

func (m *launchd) Check(ctx context.Context) error {
	if err := m.homeIsOurs(); err != nil {
		return err
	}
	out, err := m.probe(ctx, "launchd cannot be asked", "launchctl", "print", m.domain())
	switch {
	case err != nil:
		return err
	case out.Code != 0 && m.env("SUDO_USER") != "":
		return &Problem{Message: fmt.Sprintf("uid %d has no graphical session", m.uid), Hint: m.asOneself(),
			Output: out.Stderr}
	case out.Code != 0:
		message := fmt.Sprintf("uid %d has no graphical session, and launchd keeps a user's agents only in one", m.uid)
		return &Problem{Message: message, Hint: "log in at the screen first; " + withoutService, Output: out.Stderr}
	}
	return nil
}

type agent struct {
	loaded, running bool
	pid             int
}

func (m *launchd) look(ctx context.Context) (a agent, err error) {
	out, err := m.run.Run(ctx, "launchctl", "print", m.target())
	if err != nil || out.Code != 0 {
		return a, err
	}
	p := pairs(out.Stdout, " = ")
	pid, _ := strconv.Atoi(p["pid"])
	return agent{true, p["state"] == "running", pid}, nil
}

// disabled reports whether `launchctl disable` was run, which counts more than the file.
func (m *launchd) disabled(ctx context.Context) bool {
	out, err := m.run.Run(ctx, "launchctl", "print-disabled", m.domain())
	value := pairs(out.Stdout, " => ")[strconv.Quote(label)]
	return err == nil && (value == "disabled" || value == "true")
}

func (m *launchd) Status(ctx context.Context, want Config) (Status, error) {
	s := Status{Manager: m.Name(), Installed: isFile(m.path())}
	was := m.values()
	if s.Installed {
		s.OnDemand = was["RunAtLoad"] == "false"
		want.OnDemand = s.OnDemand
	}
	files, err := m.files(want)
	if err != nil {
		return Status{}, err
	}
	s.UpToDate = len(writes(files)) == 0
	if err := m.Check(ctx); err != nil {
		s.Trouble = err.(*Problem)
		s.Enabled = s.Installed
		return s, nil
	}
	a, err := m.look(ctx)
	s.Running, s.PID = a.running, a.pid
	s.Enabled = s.Installed && !s.OnDemand && !m.disabled(ctx)
	return s, err
}

// values are those of the file that is there, at any depth.
func (m *launchd) values() map[string]string {
	data, _ := safefile.Read(m.path(), maxFile)
	values := map[string]string{}
	for _, m := range plistValue().FindAllStringSubmatch(string(data), -1) {
		values[m[1]] = html.UnescapeString(m[2]) + m[3]
	}
	return values
}

func (m *launchd) Serves(socket string) bool {
	values := m.values()
	path, ok := values["RUNTIMED_SOCKET"]
	if log := values["StandardErrorPath"]; !ok && log != "" {
		path = filepath.Join(filepath.Dir(log), "runtimed.sock")
	}
	return path == socket
}

// leave waits until the agent is gone: bootout returns early, and a bootstrap meanwhile fails. 3 and 113: it was
// not loaded; 36: in progress.
func (m *launchd) leave() []Step {
	return []Step{
		{Run: []string{"launchctl", "bootout", m.target()}, Fine: []int{3, 36, 113}},
		{Run: []string{"launchctl", "print", m.target()}, Again: []int{0}, Fine: []int{anyCode}},
	}
}

// 5 and 37: an older one is still leaving.
func (m *launchd) enter() []Step {
	return []Step{
		{Run: []string{"launchctl", "enable", m.target()}},
		{Run: []string{"launchctl", "bootstrap", m.domain(), m.path()}, Again: []int{5, 37}},
	}
}

func (m *launchd) kick() Step {
	return Step{Run: []string{"launchctl", "kickstart", m.target()}}
}

func (m *launchd) Install(ctx context.Context, want Config) ([]Step, error) {
	files, err := m.files(want)
	now, asked := ask(ctx, m, m.look)
	if err := cmp.Or(err, foreign(m.path()), asked); err != nil {
		return nil, err
	}
	var steps []Step
	changed := writes(files)
	if now.loaded && len(changed) > 0 {
		steps = m.leave()
		now = agent{}
	}
	if dir := filepath.Dir(want.Log); want.Log != "" {
		if _, err := os.Stat(dir); err != nil { // launchd starts nothing whose log it cannot open
			steps = append(steps, Step{Folder: dir})
		}
	}
	steps = append(steps, changed...)
	switch {
	case !now.loaded:
		steps = append(steps, m.enter()...)
	case m.disabled(ctx):
		steps = append(steps, m.enter()[0])
	}
	if now.loaded && !now.running && !want.OnDemand {
		steps = append(steps, m.kick())
	}
	return steps, nil
}

func (m *launchd) Uninstall(ctx context.Context) ([]Step, error) {
	now, err := ask(ctx, m, m.look)
	if err := cmp.Or(foreign(m.path()), err); err != nil {
		return nil, err
	}
	var steps []Step
	if now.loaded {
		steps = m.leave()
	}
	if _, err := os.Lstat(m.path()); err == nil {
		steps = append(steps, Step{Remove: m.path()})
	}
	return append(steps, removeCopies(m.env)...), nil
}

func (m *launchd) Start(ctx context.Context) ([]Step, error) {
	now, err := m.look(ctx)
	if now.loaded || err != nil {
		return []Step{m.kick()}, err
	}
	return append(m.enter(), m.kick()), nil
}

// Stop unloads the agent, until the next login or start.
func (m *launchd) Stop(ctx context.Context) ([]Step, error) {
	now, err := m.look(ctx)
	if !now.loaded {
		return nil, err
	}
	return m.leave(), nil
}

func (m *launchd) Restart(ctx context.Context) ([]Step, error) {
	stop, err := m.Stop(ctx)
	return append(append(stop, m.enter()...), m.kick()), err
}

func (m *launchd) Lacks(ctx context.Context) []string {
	return lacks(m.env, func(name string) bool {
		out, err := m.run.Run(ctx, "launchctl", "getenv", name)
		return err != nil || strings.TrimSpace(out.Stdout) != ""
	})
}
