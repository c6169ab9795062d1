package uv

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/pyreq"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Addition is what an environment gets in addition to what it has.
type Addition struct {
	Env    string            // its folder, and the mark of children
	Python string            // its Python
	Minor  string            // that one's version, without its last part
	Have   []builder.Package // the Python packages that it has
	Keep   bool              // these keep their versions, or the addition fails; else they do where that is possible
	Lines  []string          // of a requirements file
	Dir    string            // from which paths in Lines start; empty: there are none
	What   string            // Lines in words, for messages: "ipykernel"
	Digest string            // of what Lines lead to

	like []byte // a lock file whose versions are preferred
	run  runner // nil: in our own empty folder
	key  []byte // what else decides what is resolved
}

// call is a command of uv.
type call struct {
	args  []string
	env   []string // more variables
	input []byte
}

// runner runs uv in some folder.
type runner func(context.Context, call) (tool.Result, error)

// Add resolves and installs an addition with uv. What was resolved once is kept in a lock file, and installed again
// from uv's cache. It leaves what the environment has already. The error is a *builder.Error.
func (u *Builder) Add(ctx context.Context, a Addition, progress func(builder.Stage)) error {
	b, err := u.adding(ctx, &a, progress)
	if err != nil {
		return err
	}
	return b.add(ctx, a, progress)
}

// InstallLines installs lines of a requirements file, and nothing that these need. hashed means that all have hashes,
// which are compared. The error is a *builder.Error.
func (u *Builder) InstallLines(ctx context.Context, a Addition, lines []string, hashed bool,
	progress func(builder.Stage)) error {
	var list []entry
	for _, line := range lines {
		list = append(list, entry{text: line, hashed: hashed})
	}
	b, err := u.adding(ctx, &a, progress)
	if err != nil {
		return err
	}
	return b.installEntries(ctx, a, filepath.Join(u.Dir, "locks", "needs"), list)
}

// adding is the build in which an addition is made.
func (u *Builder) adding(ctx context.Context, a *Addition, progress func(builder.Stage)) (*build, error) {
	program, err := u.Find(ctx, a.Env, progress)
	if err != nil {
		return nil, err
	}
	b, dir := &build{Builder: u, mark: a.Env, progress: progress, tool: program}, a.Dir
	a.run = func(ctx context.Context, c call) (tool.Result, error) {
		return b.runIn(ctx, dir, append(u.ToolEnviron(), gitEnviron(u.Environ)...), c)
	}
	return b, nil
}

func (b *build) add(ctx context.Context, a Addition, progress func(builder.Stage)) error {
	b.ForgetNeeds()
	lock := b.additionLock(a)
	done, err := b.turns.Take(ctx, lock)
	if err != nil {
		return err
	}
	defer done()
	if err := b.SoundLock(lock, nil); err != nil {
		return err
	}
	if !Filled(lock) {
		progress(builder.Stage{Name: builder.StageResolving, Message: "resolving " + a.What})
		if err := b.resolveAddition(ctx, a, lock); err != nil {
			return err
		}
	}
	data, err := envdir.ReadOwn(lock, envdir.MaxInside)
	if err != nil {
		return envdir.DiskError(err)
	}
	if a.Dir != "" { // with their options, which say where packages come from
		return b.installLines(ctx, a, filepath.Dir(lock), data)
	}
	hashed, others := entries(data)
	had := func(e entry) bool {
		return slices.ContainsFunc(a.Have, func(p builder.Package) bool {
			return p.Name == e.name && (a.Keep || p.Version == e.version)
		})
	}
	for _, list := range [][]entry{slices.DeleteFunc(hashed, had), slices.DeleteFunc(others, had)} {
		if err := b.installEntries(ctx, a, filepath.Dir(lock), list); err != nil {
			return err
		}
	}
	return nil
}

// additionLock is where what an addition was resolved to is kept.
func (b *build) additionLock(a Addition) string {
	parts := []string{a.Digest, a.Dir, b.Config().IndexURL, string(a.key)}
	if a.Keep {
		parts = append(parts, "keep")
	}
	for _, p := range a.Have {
		parts = append(parts, p.Name+"=="+p.Version)
	}
	name := sha([]byte(strings.Join(append(parts, a.Lines...), "\x00")))[:16]
	return filepath.Join(b.Dir, "locks", "needs", name+"-py"+a.Minor+".txt")
}

// resolveAddition writes the lock file of an addition.
func (b *build) resolveAddition(ctx context.Context, a Addition, lock string) error {
	tmp, remove, err := b.Scratch(filepath.Dir(lock), statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	pins, prefer := pinsOf(a.Have), a.like
	if !a.Keep {
		prefer = []byte(pins + string(a.like))
	}
	lines, out, have := strings.Join(a.Lines, "\n")+"\n", filepath.Join(tmp, "lock.txt"), filepath.Join(tmp, "have.txt")
	if err := os.WriteFile(have, []byte(pins), 0o600); err != nil {
		return envdir.DiskError(err)
	}
	argv := []string{"pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
		"--no-python-downloads", "--python", a.Python, "--output-file", out}
	if a.Keep {
		argv = append(argv, "--constraints", have)
	}
	argv = append(argv, "-") // paths in a file would start at its folder
	if _, err = resolveLike(ctx, a.run, out, prefer, false, call{args: argv, input: []byte(lines)}); err != nil {
		return cannotAdd(a, err)
	}
	data, err := envdir.ReadOwn(out, envdir.MaxInside)
	if err == nil {
		err = b.WriteLock(lock, data, tmp)
	}
	return envdir.DiskError(err)
}

// cannotAdd says what could not be added to what.
func cannotAdd(a Addition, err error) error {
	if builder.CauseOf(err) != builder.CauseUnsatisfiable || !a.Keep {
		return err
	}
	said := *err.(*builder.Error)
	said.Message = a.What + " cannot be added without changing a version that the project has"
	said.Hint = "ask for versions that go with those of the project"
	if a.What == kernelPackage {
		said.Hint = "add it to the project itself, as in: uv add --dev " + kernelPackage
	}
	return &said
}

func pinsOf(have []builder.Package) string {
	var b strings.Builder
	for _, p := range have {
		b.WriteString(p.Name + "==" + p.Version + "\n")
	}
	return b.String()
}

// installLines installs what lines of a requirements file were resolved to.
func (b *build) installLines(ctx context.Context, a Addition, scratch string, lock []byte) error {
	tmp, remove, err := b.Scratch(scratch, statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	pins, err := writeEntries(tmp, "constraints.txt", pinnedIn(lock))
	if err != nil {
		return err
	}
	run := func(ctx context.Context, c call) (tool.Result, error) {
		c.input = []byte(strings.Join(a.Lines, "\n") + "\n")
		return a.run(ctx, c)
	}
	return b.tries(ctx, run, "pip", "install", "--python", a.Python, "--break-system-packages", "-r", "-", "-c", pins)
}

// installEntries installs a part of a lock file, all of which has hashes, or none.
func (b *build) installEntries(ctx context.Context, a Addition, scratch string, list []entry) error {
	if len(list) == 0 {
		return nil
	}
	tmp, remove, err := b.Scratch(scratch, statedir.ResolvePrefix)
	if err != nil {
		return err
	}
	defer remove()
	file, err := writeEntries(tmp, "requirements.txt", list)
	if err != nil {
		return err
	}
	argv := []string{"pip", "install", "--python", a.Python, "--no-deps", "--break-system-packages", "-r", file}
	if list[0].hashed {
		return b.withStore(ctx, a.run, append(argv, "--require-hashes")...)
	}
	return b.tries(ctx, a.run, argv...)
}

// entry is one distribution in a lock file.
type entry struct {
	text          string
	name, version string // empty for a path or a URL
	hashed        bool
}

var pinned = regexp.MustCompile(`^` + packageName + `(?:\[[^\]]*\])?==([^\s;\\]+)`)

// entries are those of a lock file that uv wrote, by whether they have hashes.
func entries(data []byte) (hashed, others []entry) {
	var all []entry
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] == ' ' && len(all) > 0:
			all[len(all)-1].text += "\n" + line
		default:
			all = append(all, entry{text: line})
		}
	}
	for _, e := range all {
		if m := pinned.FindStringSubmatch(e.text); m != nil {
			e.name, e.version = pyreq.NormalName(m[1]), m[2]
		}
		if e.hashed = strings.Contains(e.text, "--hash="); e.hashed {
			hashed = append(hashed, e)
		} else {
			others = append(others, e)
		}
	}
	return hashed, others
}

// pinnedIn are those of a lock file that can be constraints.
func pinnedIn(data []byte) []entry {
	hashed, others := entries(data)
	return slices.DeleteFunc(slices.Concat(hashed, others), func(e entry) bool { return e.name == "" })
}

func writeEntries(dir, name string, list []entry) (path string, err error) {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.text + "\n")
	}
	path = filepath.Join(dir, name)
	return path, envdir.DiskError(os.WriteFile(path, []byte(b.String()), 0o600))
}
