//go:build unix

package service

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/internal/testkit"

	"github.com/google/go-cmp/cmp"
)

func TestUnitFilesAreWhatTheyWere(t *testing.T) {
	for name, c := range map[string]Config{"plain": plain(), "odd": strange()} {
		files, err := units("/units", c)
		testkit.Check(t, err)
		for _, f := range files {
			golden(t, name+"-"+filepath.Base(f.Path), string(f.Data))
		}
	}
}

func TestWhatNoEscapeCanCarryIsRefused(t *testing.T) {
	for _, path := range []string{"/a\nb", "/a\xffb", "/a\x7f", `/a\`, "/a "} {
		c := plain()
		c.Socket = path
		if _, err := units("/units", c); err == nil {
			t.Errorf("%q is taken", path)
		}
	}
	c := plain()
	c.Vars = []Var{{"RUNTIMED_CONFIG", "/a\nExecStart=/bin/false"}}
	if _, err := units("/units", c); err == nil {
		t.Error("a line end in a variable is taken")
	}
}

// show is what `systemctl show` says of the two units.
func show(service, serviceFile, socket, socketFile string) answers {
	unit := func(id, state, file string) string {
		return "Id=" + id + "\nActiveState=" + state + "\nSubState=x\nUnitFileState=" + file + "\nNeedDaemonReload=no\n"
	}
	return answers{
		"systemctl --user show --property=UnitPath": {},
		"systemctl --user show --property=Id": {
			Stdout: "MainPID=7\n" + unit(serviceUnit, service, serviceFile) + "\n" +
				unit(socketUnit, socket, socketFile),
		},
		"systemctl --user show-environment": {Stdout: "HTTPS_PROXY=http://p\nPATH=/bin\n"},
	}
}

// under is a manager for a machine of the test's own, on which systemd runs.
func under(t *testing.T, run Runner) *systemd {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"run/systemd/system", "home", "xdg"} {
		testkit.Check(t, os.MkdirAll(filepath.Join(root, dir), 0o700))
	}
	env := map[string]string{"HOME": root + "/home", "XDG_RUNTIME_DIR": root + "/xdg", "HTTPS_PROXY": "x",
		"SSL_CERT_FILE": "/c"}
	return &systemd{person{func(name string) string { return env[name] }, os.Getuid(), run}, root}
}

func words(m *systemd, steps []Step, err error) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(strings.ReplaceAll(s.String(), m.env("HOME"), "~") + "\n")
	}
	if err != nil {
		b.WriteString("error: " + err.Error() + "\n")
	}
	return b.String()
}

func TestInstallDoesWhatIsMissingAndNoMore(t *testing.T) {
	const write = "write ~/.config/systemd/user/runtimed.service\nwrite ~/.config/systemd/user/runtimed.socket\n" +
		"run systemctl --user daemon-reload\n"
	const ctl = "run systemctl --user "
	fresh, all := show("inactive", "", "inactive", ""), show("active", "enabled", "active", "enabled")
	for _, c := range []struct {
		what     string
		now      answers
		there    bool // the files, as they would be written
		onDemand bool
		want     string
	}{
		{"nothing is there", fresh, false, false,
			write + ctl + "enable runtimed.socket runtimed.service\n" + ctl +
				"start runtimed.socket runtimed.service\n"},
		{"nothing is there, on demand", fresh, false, true, write + ctl + "enable runtimed.socket\n" + ctl +
			"start runtimed.socket\n"},
		{"all is there", all, true, false, ""},
		{"the files are older", all, false, false,
			ctl + "stop runtimed.socket runtimed.service\n" + write + ctl + "start runtimed.socket runtimed.service\n"},
		{"it is stopped", show("inactive", "enabled", "inactive", "enabled"), true, false, ctl +
			"start runtimed.socket runtimed.service\n"},
		{"it failed", show("failed", "enabled", "failed", "enabled"), true, false, ctl +
			"start runtimed.socket runtimed.service\n"},
		{"it is disabled", show("active", "disabled", "active", "disabled"), true, false, ctl +
			"enable runtimed.socket runtimed.service\n"},
		{"it shall be on demand from now on", all, true, true, ctl + "disable runtimed.service\n"},
		{"on demand, and nobody has asked", show("inactive", "disabled", "active", "enabled"), true, true, ""},
		{"the daemon lost its socket", show("active", "enabled", "failed", "enabled"), true, false,
			ctl + "stop runtimed.socket runtimed.service\n" + ctl + "start runtimed.socket runtimed.service\n"},
	} {
		m := under(t, c.now)
		if c.there {
			files, err := m.files(plain())
			if err == nil {
				err = Do(t.Context(), c.now, writes(files), func(Step) {})
			}
			testkit.Check(t, err)
		}
		want := plain()
		want.OnDemand = c.onDemand
		steps, err := m.Install(t.Context(), want)
		if diff := cmp.Diff(c.want, words(m, steps, err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestWhatIsEnabledForEveryUserIsEnabledForThisOneToo(t *testing.T) {
	m := under(t, show("inactive", "disabled", "active", "enabled"))
	files, err := m.files(plain())
	testkit.Check(t, err)
	testkit.Check(t, Do(t.Context(), m.run, writes(files), func(Step) {}))
	want := plain()
	want.OnDemand = true
	link := func(path string) string {
		testkit.Check(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink("/x", path)))
		steps, err := m.Install(t.Context(), want)
		return words(m, steps, err)
	}
	if got := link(m.globalLink(socketUnit)); got != "run systemctl --user enable runtimed.socket\n" {
		t.Errorf("enabled for all: %q", got)
	}
	if got := link(m.link(socketUnit)); got != "" {
		t.Errorf("then for this user: %q", got)
	}
}

func TestANewProgramIsAReasonToRestartAndNoMore(t *testing.T) {
	m := under(t, show("active", "enabled", "active", "enabled"))
	source := filepath.Join(t.TempDir(), "runtimed")
	testkit.Check(t, os.WriteFile(source, []byte("new"), 0o755))
	c := plain()
	c.Program = filepath.Join(m.env("HOME"), "bin", "runtimed")
	c.Copies = []File{{Path: c.Program, From: source, Mode: 0o755}}
	files, err := m.files(c)
	if err == nil {
		err = Do(t.Context(), m.run, writes(files[1:]), func(Step) {})
	}
	testkit.Check(t, err)
	steps, err := m.Install(t.Context(), c)
	want := "copy " + source + " to ~/bin/runtimed\nrun systemctl --user restart runtimed.service\n"
	if diff := cmp.Diff(want, words(m, steps, err)); diff != "" {
		t.Error(diff)
	}
}

func TestStatusTellsWhatThereIs(t *testing.T) {
	m := under(t, show("active", "enabled", "active", "enabled"))
	files, err := m.files(plain())
	if err == nil {
		err = Do(t.Context(), m.run, writes(files), func(Step) {})
	}
	testkit.Check(t, err)
	s, err := m.Status(t.Context(), plain())
	off := false
	want := Status{
		Manager: "systemd", Installed: true, Enabled: true, Running: true, PID: 7,
		Socket: SocketStatus{Installed: true, Listening: true}, UpToDate: true, Linger: &off,
	}
	if diff := cmp.Diff(want, s); diff != "" || err != nil {
		t.Error(err, diff)
	}
	other := plain()
	other.Vars = []Var{{"RUNTIMED_LOG_LEVEL", "debug"}}
	if s, err := m.Status(t.Context(), other); err != nil || s.UpToDate {
		t.Errorf("%v: older files are up to date: %+v", err, s)
	}
	if !m.Serves(plain().Socket) || m.Serves("/another") {
		t.Error("the service is not known by its socket")
	}
	if got := strings.Join(m.Lacks(t.Context()), " "); got != "SSL_CERT_FILE" {
		t.Errorf("a service lacks %q", got)
	}
}

func TestOfWhatIsNotThereNothingIsUninstalled(t *testing.T) {
	m := under(t, show("inactive", "", "inactive", ""))
	if steps, err := m.Uninstall(t.Context()); err != nil || len(steps) > 0 {
		t.Error(words(m, steps, err))
	}
}

func TestAMaskedUnitIsLeftAsItIs(t *testing.T) {
	m := under(t, show("inactive", "masked", "inactive", ""))
	path := filepath.Join(m.dir(), serviceUnit)
	testkit.Check(t, os.MkdirAll(m.dir(), 0o700))
	testkit.Check(t, os.Symlink(os.DevNull, path))
	var p *Problem
	if steps, err := m.Install(t.Context(), plain()); !errors.As(err, &p) ||
		p.Hint != "if it shall be: systemctl --user unmask runtimed.service" {
		t.Error(words(m, steps, err))
	}
	if steps, err := m.Uninstall(t.Context()); err != nil || len(steps) > 0 {
		t.Error(words(m, steps, err))
	}
}

func TestAUnitFileThatSomebodyElseWroteIsLeftAlone(t *testing.T) {
	m := under(t, show("inactive", "disabled", "inactive", "disabled"))
	path := filepath.Join(m.dir(), serviceUnit)
	own := []byte("[Service]\nExecStart=/home/u/bin/runtimed\n")
	testkit.Check(t, errors.Join(os.MkdirAll(m.dir(), 0o700), os.WriteFile(path, own, 0o600)))
	for name, do := range map[string]func() ([]Step, error){
		"install":   func() ([]Step, error) { return m.Install(t.Context(), plain()) },
		"uninstall": func() ([]Step, error) { return m.Uninstall(t.Context()) },
	} {
		var p *Problem
		if steps, err := do(); !errors.As(err, &p) || !strings.Contains(p.Message, path+" was not written by runt") ||
			len(steps) > 0 {
			t.Errorf("%s: %s", name, words(m, steps, err))
		}
	}
}

func TestOnlyFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	device, link := filepath.Join(dir, "device"), filepath.Join(dir, "link")
	ln, err := net.Listen("unix", device) // for /dev/null, in whose place a test must not risk to write
	if err == nil {
		err = os.Symlink(device, link)
	}
	testkit.Check(t, err)
	defer ln.Close()
	for _, path := range []string{dir, device, link} {
		f := File{Path: path, Data: []byte("new"), Mode: 0o600}
		if err := f.write(); err == nil || !strings.Contains(err.Error(), "left alone") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(device); err != nil || info.Mode().IsRegular() {
		t.Errorf("it was replaced: %v %v", info.Mode(), err)
	}
}

func TestTheUnitsOfThePackageAreThoseThatInstallWrites(t *testing.T) {
	files, err := units("", Config{Program: "/usr/bin/runtimed", Socket: "%C/runt/runtimed.sock"})
	testkit.Check(t, err)
	for _, f := range files {
		got, err := os.ReadFile("../packaging/" + f.Path)
		testkit.Check(t, err)
		// Their first line says whose they are, and the package's daemon ends when nobody needs it.
		_, body, _ := strings.Cut(string(got), "\n")
		same := strings.NewReplacer("%%C", "%C", `runtimed" run`, `runtimed" run --auto`)
		_, want, _ := strings.Cut(same.Replace(string(f.Data)), "\n")
		if body != want {
			t.Errorf("%s is\n%s\nand not\n%s", f.Path, body, want)
		}
	}
}

// root makes a machine with these files, and returns a systemd that sees it.
func root(t *testing.T, env func(string) string, files map[string]string) *systemd {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.Check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return &systemd{person{env: func(name string) string {
		if name == "HOME" {
			return filepath.Join(dir, env(name))
		}
		return env(name)
	}, run: answers{}}, dir}
}

func TestAUnitOfThePackageCountsOnceItIsEnabledAndNoOtherIsInFrontOfIt(t *testing.T) {
	const (
		unit  = "usr/lib/systemd/user/runtimed.socket"
		every = "etc/systemd/user/sockets.target.wants/runtimed.socket"
		own   = "home/.config/systemd/user/runtimed.socket"
		text  = "[Socket]\nListenStream=%C/runt/runtimed.sock\n"
	)
	usual, everybody := "home/.cache/runt/runtimed.sock", map[string]string{unit: text, every: ""}
	with := func(path, text string) map[string]string {
		files := maps.Clone(everybody)
		files[path] = text
		return files
	}
	for name, c := range map[string]struct {
		files  map[string]string
		vars   string // one more variable
		socket string // where clients look
		serves bool
	}{
		"installed only": {map[string]string{unit: text}, "", usual, false},
		"enabled":        {everybody, "", usual, true},
		"enabled by its user": {map[string]string{unit: text,
			"home/.config/systemd/user/sockets.target.wants/runtimed.socket": ""}, "", usual, true},
		"another socket": {everybody, "", "home/s", false},
		"a cache folder": {everybody, "XDG_CACHE_HOME=/c%d/", "/c%d/runt/runtimed.sock", true},
		"removed":        {map[string]string{every: ""}, "", usual, false},
		"one's own":      {with(own, "ListenStream=/x\n"), "", "/x", true},
		"not one's own":  {with(own, "ListenStream=/x\n"), "", usual, false},
		"generated": {with("run/1/systemd/generator/runtimed.socket", "ListenStream=/y%%\n"), "XDG_RUNTIME_DIR=/run/1",
			"/y%", true},
	} {
		t.Run(name, func(t *testing.T) {
			vars := map[string]string{"HOME": "home"}
			variable, value, _ := strings.Cut(c.vars, "=")
			vars[variable] = value
			m := root(t, func(name string) string { return vars[name] }, c.files)
			if !filepath.IsAbs(c.socket) {
				c.socket = filepath.Join(m.root, c.socket)
			}
			if got := m.Serves(c.socket); got != c.serves {
				t.Errorf("it serves %s: %v", c.socket, got)
			}
		})
	}
}

func TestWhereTheUnitOfThePackageListensIsItsManagersToSay(t *testing.T) {
	vars := map[string]string{"HOME": "home", "XDG_CACHE_HOME": "/scratch"} // as a shell's start files set it
	m := root(t, func(name string) string { return vars[name] }, map[string]string{
		"usr/lib/systemd/user/runtimed.socket":                  "[Socket]\nListenStream=%C/runt/runtimed.sock\n",
		"etc/systemd/user/sockets.target.wants/runtimed.socket": "",
	})
	const listens = "systemctl --user show --property=Listen"
	usual := filepath.Join(m.env("HOME"), ".cache/runt/runtimed.sock")
	m.run = answers{listens: {Stdout: usual + " (Stream)\n"}}
	if m.Serves("/scratch/runt/runtimed.sock") || !m.Serves(usual) {
		t.Error("the shell's cache folder counts")
	}
	m.run = answers{listens: {Stdout: "\n"}} // masked for all
	if m.Serves(usual) || m.Serves("/scratch/runt/runtimed.sock") {
		t.Error("it counts where it is masked")
	}
}

func TestAUnitIsGeneratedOnlyWhereThePackagesNamesAnotherPlace(t *testing.T) {
	home := func(name string) string { return map[string]string{"HOME": "/home/u"}[name] }
	if steps := Generate(t.TempDir(), "/home/u/.cache/runt/runtimed.sock", home); len(steps) > 0 {
		t.Errorf("got %v", steps)
	}
	dir := t.TempDir()
	steps := Generate(dir, "/var/tmp/50%/s", home)
	if len(steps) != 1 || steps[0].Write.Path != filepath.Join(dir, socketUnit) ||
		!strings.Contains(steps[0].Write.Text(), "\nListenStream=/var/tmp/50%%/s\n") {
		t.Errorf("got %v", steps)
	}
}
