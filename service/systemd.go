package service

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"runtimed/internal/safefile"
)

type systemd struct {
	person
	root string // "/"; tests have another
}

func (m *systemd) Name() string { return "systemd" }

func (m *systemd) dir() string { return unitDir(m.env) }

func unitDir(env func(string) string) string {
	base := env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(env("HOME"), ".config")
	}
	return filepath.Join(base, "systemd", "user")
}

func (m *systemd) files(c Config) ([]File, error) {
	files, err := units(m.dir(), c)
	return append(slices.Clone(c.Copies), files...), err
}

func userctl(args ...string) []string { return append([]string{"systemctl", "--user"}, args...) }

type unit struct {
	state  string // ActiveState
	file   string // UnitFileState: enabled, disabled, masked …; empty if there is no such file
	pid    int
	reload bool // its file has changed since it was read
}

func (u unit) active() bool { return u.state == "active" || u.state == "reloading" }

// known reports whether the unit has a file; one without can be masked too.
func (u unit) known() bool { return u.file != "" && !strings.HasPrefix(u.file, "masked") }

// idle reports that the unit neither runs nor is about to.
func (u unit) idle() bool { return u.state == "" || u.state == "inactive" || u.state == "failed" }

// look returns the two units by their names.
func (m *systemd) look(ctx context.Context) (map[string]unit, error) {
	const properties = "--property=Id,ActiveState,UnitFileState,MainPID,NeedDaemonReload"
	out, err := m.show(ctx, properties, serviceUnit, socketUnit)
	if err != nil {
		return nil, err
	}
	found := map[string]unit{}
	for block := range strings.SplitSeq(out.Stdout, "\n\n") {
		p := pairs(block, "=")
		pid, _ := strconv.Atoi(p["MainPID"])
		found[p["Id"]] = unit{p["ActiveState"], p["UnitFileState"], pid, p["NeedDaemonReload"] == "yes"}
	}
	return found, nil
}

func (m *systemd) Status(ctx context.Context, want Config) (Status, error) {
	files, err := m.files(want)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Manager: m.Name(), Installed: isFile(filepath.Join(m.dir(), serviceUnit)), Linger: m.linger(),
		UpToDate: len(writes(files)) == 0,
	}
	s.Socket.Installed = isFile(filepath.Join(m.dir(), socketUnit))
	if m.packaged() != "" {
		s.Package, s.Installed, s.UpToDate, s.Socket.Installed = true, true, true, true
	}
	daemon, socket := m.enabled(serviceUnit), m.enabled(socketUnit)
	if err := m.Check(ctx); err != nil {
		s.Trouble = err.(*Problem)
	} else {
		found, err := m.look(ctx)
		if err != nil {
			return s, err
		}
		service, sock := found[serviceUnit], found[socketUnit]
		if !s.Package { // one that was generated has no such state
			daemon, socket = service.file == "enabled", sock.file == "enabled"
		}
		s.Running, s.Socket.Listening = service.active(), sock.active()
		s.Failed = service.state == "failed"
		if s.Running {
			s.PID = service.pid
		}
		s.UpToDate = s.UpToDate && !service.reload && !sock.reload
	}
	s.Enabled = daemon || socket
	s.OnDemand = socket && !daemon
	return s, nil
}

// enabled is for when the manager cannot be asked.
func (m *systemd) enabled(unit string) bool {
	return present(m.link(unit)) || present(m.globalLink(unit))
}

func present(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (m *systemd) link(unit string) string {
	return filepath.Join(m.dir(), wants(unit), unit)
}

// globalLink is the link of `systemctl --global enable`.
func (m *systemd) globalLink(unit string) string {
	return filepath.Join(m.root, "etc/systemd/user", wants(unit), unit)
}

// ownLink reports whether the unit is enabled, and not only for as long as it is so for every user of this machine.
func (m *systemd) ownLink(name string, u unit) bool {
	return u.file == "enabled" && (present(m.link(name)) || !present(m.globalLink(name)))
}

func wants(unit string) string {
	if unit == socketUnit {
		return "sockets.target.wants"
	}
	return "default.target.wants"
}

// packaged is the socket unit of the package, if somebody has enabled it and the user has no unit of that name, which
// would be read in its place; a masked one counts as that. Otherwise it is empty.
func (m *systemd) packaged() string {
	if present(filepath.Join(m.dir(), socketUnit)) || !m.enabled(socketUnit) {
		return ""
	}
	for _, dir := range []string{filepath.Join(m.env("XDG_RUNTIME_DIR"), "systemd/generator"), packageDir} {
		if path := filepath.Join(m.root, dir, socketUnit); isFile(path) {
			return path
		}
	}
	return ""
}

const packageDir = "/usr/lib/systemd/user"

func (m *systemd) Serves(socket string) bool {
	path, where := filepath.Join(m.dir(), socketUnit), "ListenStream="+unitPath(socket)
	packaged := m.packaged()
	if packaged != "" {
		// Its place is that of the manager's cache folder, which this shell's variables may not tell.
		out, err := m.show(context.Background(), "--property=Listen", "--value", socketUnit)
		if err == nil {
			return strings.TrimSpace(out.Stdout) == socket+" (Stream)"
		}
		path = packaged
	}
	data, err := safefile.Read(path, maxFile)
	return err == nil && slices.ContainsFunc(bytes.Split(data, []byte("\n")), func(line []byte) bool {
		if packaged != "" {
			line = bytes.ReplaceAll(line, []byte("=%C/"), []byte("="+unitPath(cacheHome(m.env))+"/"))
		}
		return string(line) == where
	})
}

// Generate returns the steps that write the socket unit into dir, for systemd to read in place of the package's, where
// clients look elsewhere than that unit can say: a variable moves the socket, or the home is on a network.
func Generate(dir, socket string, env func(string) string) []Step {
	if socket == filepath.Join(cacheHome(env), "runt", "runtimed.sock") {
		return nil
	}
	files, err := units(dir, Config{Socket: socket})
	if err != nil {
		return nil // the package's unit is the best there is
	}
	return writes(files[1:])
}

// cacheHome is what the specifier %C stands for.
func cacheHome(env func(string) string) string {
	if dir := env("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return strings.TrimRight(dir, "/")
	}
	return filepath.Join(env("HOME"), ".cache")
}

// masked detects the link to /dev/null of `systemctl --user mask`, which must not be written to.
func (m *systemd) masked() error {
	for _, path := range m.units() {
		if to, err := filepath.EvalSymlinks(path); err == nil && to == os.DevNull {
			unit := filepath.Base(path)
			return &Problem{Message: unit + " is masked: somebody wants that nothing starts it",
				Hint: "if it shall be: systemctl --user unmask " + unit}
		}
	}
	return nil
}

func (m *systemd) Install(ctx context.Context, want Config) ([]Step, error) {
	files, err := m.files(want)
	found, asked := ask(ctx, m, m.look)
	if err := cmp.Or(err, m.masked(), foreign(m.units()...), asked); err != nil {
		return nil, err
	}
	service, socket := found[serviceUnit], found[socketUnit]
	var steps []Step
	do := func(args ...string) { steps = append(steps, Step{Run: userctl(args...)}) }

	changed := writes(files)
	units := slices.ContainsFunc(changed, func(s Step) bool { return filepath.Dir(s.Write.Path) == m.dir() })
	socketChanged := socket.reload ||
		slices.ContainsFunc(changed, func(s Step) bool { return filepath.Base(s.Write.Path) == socketUnit })
	// A socket cannot be reopened under a daemon that has the old one.
	if socketChanged && !(socket.idle() && service.idle()) || socket.idle() && !service.idle() {
		do("stop", socketUnit, serviceUnit)
		service.state, socket.state = "inactive", "inactive"
	}
	steps = append(steps, changed...)
	if units || service.reload || socket.reload {
		do("daemon-reload")
	}
	switch daemon, sock := m.ownLink(serviceUnit, service), m.ownLink(socketUnit, socket); {
	case want.OnDemand && daemon:
		do("disable", serviceUnit)
		fallthrough
	case want.OnDemand:
		if !sock {
			do("enable", socketUnit)
		}
	case !daemon || !sock:
		do("enable", socketUnit, serviceUnit)
	}
	switch {
	case service.active() && (len(changed) > 0 || service.reload):
		do("restart", serviceUnit)
	case service.active():
	case want.OnDemand && !socket.active():
		do("start", socketUnit)
	case !want.OnDemand:
		do("start", socketUnit, serviceUnit)
	}
	return steps, nil
}

func (m *systemd) units() []string {
	return []string{filepath.Join(m.dir(), serviceUnit), filepath.Join(m.dir(), socketUnit)}
}

func (m *systemd) Uninstall(ctx context.Context) ([]Step, error) {
	found, err := ask(ctx, m, m.look)
	if err := cmp.Or(foreign(m.units()...), err); err != nil {
		return nil, err
	}
	service, socket := found[serviceUnit], found[socketUnit]
	var steps []Step
	if !service.idle() || !socket.idle() {
		steps = append(steps, Step{Run: userctl("stop", socketUnit, serviceUnit)})
	}
	own := append(m.units(), m.link(serviceUnit), m.link(socketUnit))
	if slices.ContainsFunc(own, present) && (service.known() || socket.known()) { // 1: one is gone already
		steps = append(steps, Step{Run: userctl("disable", socketUnit, serviceUnit), Fine: []int{1}})
	}
	reload := len(steps) > 0
	for _, path := range own {
		if present(path) && !occupied(path) {
			steps = append(steps, Step{Remove: path})
		}
	}
	if reload {
		steps = append(steps, Step{Run: userctl("daemon-reload")},
			Step{Run: userctl("reset-failed", socketUnit, serviceUnit), Fine: []int{anyCode}})
	}
	return append(steps, removeCopies(m.env)...), nil
}

func (m *systemd) Start(context.Context) ([]Step, error) {
	return []Step{{Run: userctl("start", socketUnit, serviceUnit)}}, nil
}

func (m *systemd) Stop(context.Context) ([]Step, error) {
	return []Step{{Run: userctl("stop", socketUnit, serviceUnit)}}, nil
}

// Restart leaves the socket as it is: its queue holds the connections of the meantime.
func (m *systemd) Restart(context.Context) ([]Step, error) {
	return []Step{{Run: userctl("restart", serviceUnit)}}, nil
}

func (m *systemd) Lacks(ctx context.Context) []string {
	out, err := m.run.Run(ctx, userctl("show-environment")...)
	if err != nil || out.Code != 0 {
		return nil
	}
	return lacks(m.env, func(name string) bool { return strings.Contains("\n"+out.Stdout, "\n"+name+"=") })
}

// Said tries for a second, since output reaches the journal late.
func (m *systemd) Said(ctx context.Context, since time.Time) string {
	argv := append([]string{
		"journalctl", fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000),
		"--lines=20", "--no-pager", "--quiet", "--output=cat",
	}, JournalMatches(m.uid)...)
	for end := time.Now().Add(time.Second); ; {
		out, err := m.run.Run(ctx, argv...)
		if err != nil {
			return ""
		}
		if out.Code != 0 || out.Stdout != "" || time.Now().After(end) {
			return out.Stdout
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// JournalMatches are arguments of journalctl for the entries of and about a user's daemon: those of --user-unit=,
// and one more, since the journal may not learn the unit of a process that ends at once.
func JournalMatches(uid int) []string {
	var argv []string
	for _, field := range []string{
		"_SYSTEMD_USER_UNIT=" + serviceUnit, "USER_UNIT=" + serviceUnit, "COREDUMP_USER_UNIT=" + serviceUnit,
		"OBJECT_SYSTEMD_USER_UNIT=" + serviceUnit, "SYSLOG_IDENTIFIER=" + programs[0],
	} {
		argv = append(argv, "+", field, fmt.Sprintf("_UID=%d", uid))
	}
	return argv[1:]
}
