package service

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode/utf16"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
)

// scheduler has a task that starts when the user logs on.
type scheduler struct{ person }

// taskText has the priority of a program that the user starts. The default, 7, slows the processor, the disk and
// memory, also for what the daemon starts; the daemon lowers the priority of its builds itself.
//
//go:embed schtasks.xml.tmpl
var taskText string

var taskTemplate = template.Must(template.New("task").Funcs(template.FuncMap{"xml": xmlText}).Parse(taskText))

// maxTaskProgram is how many characters the schema of tasks allows for a program.
const maxTaskProgram = 260

// task gives flags for the daemon's variables: a task cannot set variables.
func task(path, user string, c Config) (File, error) {
	if n := len(utf16.Encode([]rune(c.Program))); n > maxTaskProgram {
		return File{}, &Problem{Hint: "use another path", Message: fmt.Sprintf(
			"the path %s has %d characters, and a task can start one of at most %d", c.Program, n, maxTaskProgram)}
	}
	arguments := []string{"run"}
	for _, v := range c.Vars {
		if name, ours := strings.CutPrefix(v.Name, "RUNTIMED_"); ours {
			flag := "--" + strings.ReplaceAll(strings.ToLower(name), "_", "-")
			arguments = append(arguments, windowsQuote(flag+"="+v.Value))
		}
	}
	text, err := c.render(taskTemplate, "a task", struct {
		Config
		User, Arguments string
	}{c, user, strings.Join(arguments, " ")})
	return File{Path: path, Data: utf16le(string(text)), Mode: 0o600}, err
}

// windowsQuote: backslashes count only before a quote, also the last one.
func windowsQuote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\"") {
		return s
	}
	return `"` + lastSlashes().ReplaceAllString(slashesAndQuote().ReplaceAllString(s, `$1$1\"`), `$1$1`) + `"`
}

var (
	slashesAndQuote = lazyregexp.New(`(\\*)"`)
	lastSlashes     = lazyregexp.New(`(\\+)$`)
)

var utf16Mark = []byte{0xff, 0xfe}

func utf16le(s string) []byte {
	data := slices.Clone(utf16Mark)
	for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(s, "\n", "\r\n"))) {
		data = binary.LittleEndian.AppendUint16(data, unit)
	}
	return data
}

func fromUTF16(data []byte) string {
	data = bytes.TrimPrefix(data, utf16Mark)
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return strings.ReplaceAll(string(utf16.Decode(units)), "\r\n", "\n")
}

func (m *scheduler) Name() string { return "schtasks" }

// task has the user's name in it, since tasks are the whole machine's.
func (m *scheduler) task() string { return "runtimed-" + strings.ToLower(m.env("USERNAME")) }

func (m *scheduler) path() string { return m.env("LOCALAPPDATA") + `\runt\service.xml` }

func (m *scheduler) files(c Config) ([]File, error) {
	user := m.env("USERNAME")
	if domain := m.env("USERDOMAIN"); domain != "" {
		user = domain + `\` + user
	}
	f, err := task(m.path(), user, c)
	return append(slices.Clone(c.Copies), f), err
}

func (m *scheduler) schtasks(args ...string) []string {
	return append([]string{"schtasks", args[0], "/TN", m.task()}, args[1:]...)
}

func (m *scheduler) Check(ctx context.Context) error {
	if m.env("USERNAME") == "" || m.env("LOCALAPPDATA") == "" {
		return &Problem{Message: "USERNAME and LOCALAPPDATA are not set, so there is no place for the service's file",
			Hint: withoutService}
	}
	_, err := m.probe(ctx, "the task scheduler cannot be asked", "schtasks", "/?")
	return err
}

// stillRunning is the last result of a task that has none yet. (The state is a word in the language of the machine.)
const stillRunning = "267009"

type scheduled struct{ there, running, enabled bool }

func (m *scheduler) look(ctx context.Context) (t scheduled, err error) {
	out, err := m.run.Run(ctx, m.schtasks("/Query", "/V", "/FO", "CSV", "/NH")...)
	if err != nil || out.Code != 0 {
		return t, err
	}
	lines, _ := csv.NewReader(strings.NewReader(out.Stdout)).ReadAll()
	if t.there = len(lines) > 0; !t.there {
		return t, nil
	}
	t.running = slices.ContainsFunc(lines, func(c []string) bool { return len(c) > 6 && c[6] == stillRunning })
	out, err = m.run.Run(ctx, m.schtasks("/Query", "/XML")...)
	t.enabled = !strings.Contains(out.Stdout, "<Enabled>false<")
	return t, err
}

func (m *scheduler) Status(ctx context.Context, want Config) (Status, error) {
	s := Status{Manager: m.Name()}
	if text := m.installed(); text != "" {
		s.OnDemand = !strings.Contains(text, "<LogonTrigger>")
		want.OnDemand = s.OnDemand
	}
	files, err := m.files(want)
	if err != nil {
		return s, err
	}
	s.UpToDate = len(writes(files)) == 0
	if err := m.Check(ctx); err != nil {
		s.Trouble = err.(*Problem)
		return s, nil
	}
	now, err := m.look(ctx)
	s.Installed, s.Running, s.Enabled = now.there, now.running, now.enabled && !s.OnDemand
	return s, err
}

func (m *scheduler) installed() string {
	data, _ := safefile.Read(m.path(), maxFile)
	return fromUTF16(data)
}

func (m *scheduler) Serves(socket string) bool {
	return strings.Contains(m.installed(), "<Documentation>"+xmlText(socket)+"</Documentation>")
}

func (m *scheduler) Install(ctx context.Context, want Config) ([]Step, error) {
	files, err := m.files(want)
	now, asked := ask(ctx, m, m.look)
	if err := cmp.Or(err, asked); err != nil {
		return nil, err
	}
	var steps []Step
	changed := writes(files)
	if now.running && len(changed) > 0 { // a running program cannot be replaced
		steps = append(steps, m.end())
		now.running = false
	}
	steps = append(steps, changed...)
	if !now.there || !now.enabled || len(changed) > 0 {
		steps = append(steps, Step{Run: m.schtasks("/Create", "/XML", m.path(), "/F")})
	}
	if !now.running && !want.OnDemand {
		steps = append(steps, Step{Run: m.schtasks("/Run")})
	}
	return steps, nil
}

// end does not fail if the task has ended by itself.
func (m *scheduler) end() Step { return Step{Run: m.schtasks("/End"), Fine: []int{1}} }

func (m *scheduler) Uninstall(ctx context.Context) ([]Step, error) {
	now, err := ask(ctx, m, m.look)
	if err != nil {
		return nil, err
	}
	var steps []Step
	if now.running {
		steps = append(steps, m.end())
	}
	if now.there {
		steps = append(steps, Step{Run: m.schtasks("/Delete", "/F")})
	}
	if isFile(m.path()) {
		steps = append(steps, Step{Remove: m.path()})
	}
	return append(steps, removeCopies(m.env)...), nil
}

func (m *scheduler) Start(context.Context) ([]Step, error) {
	return []Step{{Run: m.schtasks("/Run")}}, nil
}

func (m *scheduler) Stop(ctx context.Context) ([]Step, error) {
	now, err := m.look(ctx)
	if !now.running {
		return nil, err
	}
	return []Step{m.end()}, nil
}

func (m *scheduler) Restart(ctx context.Context) ([]Step, error) {
	stop, err := m.Stop(ctx)
	return append(stop, Step{Run: m.schtasks("/Run")}), err
}
