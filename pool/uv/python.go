package uv

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

const (
	MinPython     = "3.9"  // required by ipykernel
	DefaultPython = "3.13" // fetched if the machine has none
)

const nameNewer = "name a newer one as python of the pool in the configuration"

// Interpreter is a Python that can make environments.
type Interpreter struct {
	Path           string `json:"path"`
	Version        string `json:"version"`
	Implementation string `json:"implementation"`
	Variant        string `json:"variant"`
}

// Args make uv use exactly this one.
func (i Interpreter) Args() []string { return []string{"--no-python-downloads", "--python", i.Path} }

// minor is the version without its last part, on which resolutions depend.
func (i Interpreter) minor() string {
	parts := strings.SplitN(i.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// Numbers returns the parts of a version like 3.12.1; ok is false for pre-releases and anything else.
func Numbers(version string) (n [3]int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) > 3 {
		return n, false
	}
	for i, p := range parts {
		var err error
		if n[i], err = strconv.Atoi(p); err != nil {
			return n, false
		}
	}
	return n, true
}

func CompareVersions(a, b string) int {
	x, _ := Numbers(a)
	y, _ := Numbers(b)
	return slices.Compare(x[:], y[:])
}

// Interpreter finds the Python for want: a version, an absolute path, or empty for the newest suitable one. uv
// fetches it if the machine has none.
func (u *Builder) Interpreter(ctx context.Context, tool, mark, want string,
	progress func(builder.Stage)) (Interpreter, error) {
	if filepath.IsAbs(want) {
		return u.Ask(ctx, mark, want)
	}
	if _, ok := Numbers(want); ok && strings.Contains(want, ".") && CompareVersions(want, MinPython) < 0 {
		return Interpreter{}, builder.Errorf(builder.CausePythonMissing, nameNewer,
			"needs Python >= %s, and %s was asked for", MinPython, want)
	}
	if builder.Specifiers(want) && !builder.Satisfiable(">="+MinPython+","+want) {
		return Interpreter{}, builder.Errorf(builder.CausePythonMissing, "ask for a newer one",
			"needs Python >= %s, and %s was asked for", MinPython, want)
	}
	if known, ok := u.knownPython(want); ok {
		return known, nil
	}
	done, err := u.turns.Take(ctx, "python "+want)
	if err != nil {
		return Interpreter{}, err
	}
	defer done()
	if known, ok := u.knownPython(want); ok {
		return known, nil
	}
	best, ok := u.Chosen(ctx, mark, u.Dir, want)
	if ctx.Err() != nil {
		return Interpreter{}, ctx.Err()
	}
	if !ok {
		if best, err = u.newest(ctx, tool, mark, want, progress); err != nil {
			return Interpreter{}, err
		}
	}
	u.remember(want, best)
	return best, nil
}

func (u *Builder) remember(want string, i Interpreter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pythons[want] = i
}

// newest returns the newest Python for want, which uv fetches if the machine has none.
func (u *Builder) newest(ctx context.Context, tool, mark, want string,
	progress func(builder.Stage)) (Interpreter, error) {
	list, err := u.Installed(ctx, tool, mark, want)
	if err != nil {
		return Interpreter{}, err
	}
	best, ok := Choose(list, want)
	if !ok {
		version := cmp.Or(want, DefaultPython)
		progress(builder.Stage{Name: builder.StageDownloading, Message: "fetching Python " + version})
		if _, err = u.Run(ctx, tool, mark, "python", "install", version); err == nil {
			list, err = u.Installed(ctx, tool, mark, want)
		}
		if ctx.Err() != nil {
			return Interpreter{}, ctx.Err()
		}
		if best, ok = Choose(list, want); !ok {
			return Interpreter{}, NoPython(want, list, err)
		}
	}
	if itself, err := u.Ask(ctx, mark, best.Path); err == nil {
		best = itself
	}
	return best, nil
}

// Choose returns the newest interpreter that will do.
func Choose(list []Interpreter, want string) (best Interpreter, ok bool) {
	for _, i := range list {
		_, final := Numbers(i.Version)
		switch {
		case !final || i.Implementation != "cpython" || i.Variant != "default":
		case CompareVersions(i.Version, MinPython) < 0:
		case !builder.Satisfies(i.Version, want):
		case !ok || CompareVersions(i.Version, best.Version) > 0:
			best, ok = i, true
		}
	}
	return best, ok
}

// NoPython says what was wanted, what was found instead, and why none could be fetched.
func NoPython(want string, list []Interpreter, fetch error) error {
	needs := "Python >= " + MinPython
	if want != "" {
		needs = "Python " + want
	}
	found := "found none"
	if len(list) > 0 {
		var names []string
		for _, i := range list {
			if name := fmt.Sprintf("%s at %s", i.Version, i.Path); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		found = "found " + strings.Join(names[:min(4, len(names))], ", ")
	}
	b := builder.Errorf(builder.CausePythonMissing,
		"install "+needs+", or name one as python of the pool in the configuration",
		"needs %s, %s, and uv could not fetch one", needs, found)
	if f, ok := fetch.(*builder.Error); ok {
		b.Output = f.Output
		if f.Cause == builder.CauseCertificate {
			b.Cause, b.Hint = f.Cause, f.Hint+"; else "+b.Hint
			b.Message += ": " + strings.Replace(f.Message, "the package index", "the server that has it", 1)
		}
	}
	return b
}

// Installed lists the interpreters of this machine, those on PATH only if no other will do for want.
func (u *Builder) Installed(ctx context.Context, tool, mark, want string) ([]Interpreter, error) {
	list, err := u.installedIn(ctx, tool, mark, pythonPlaces(u.Environ))
	if _, ok := Choose(list, want); ok || ctx.Err() != nil {
		return list, err
	}
	more, err := u.installedIn(ctx, tool, mark, pathDirs(u.Environ))
	return append(list, more...), err
}

// installedIn lists the interpreters that are in the folders, and those of uv itself.
func (u *Builder) installedIn(ctx context.Context, program, mark string, dirs []string) ([]Interpreter, error) {
	path := "PATH=" + strings.Join(dirs, string(filepath.ListSeparator))
	done, err := u.runUV(ctx, tool.Command{Mark: mark,
		Argv: []string{program, "python", "list", "--only-installed", "--output-format", "json"},
		Env:  append(u.ToolEnviron(), path)})
	if err != nil {
		return nil, err
	}
	var list []Interpreter
	if err := json.Unmarshal(done.Stdout, &list); err != nil {
		return nil, builder.Errorf(builder.CauseOther, "", "uv's list of interpreters cannot be read: %s", err).
			Saying(done.Output)
	}
	return list, nil
}

func (u *Builder) knownPython(want string) (Interpreter, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.pythons[want]
	return known, ok && tool.Executable(known.Path)
}

// ForgetPythons makes the next build look for interpreters again.
func (u *Builder) ForgetPythons() {
	u.mu.Lock()
	u.pythons = map[string]Interpreter{}
	u.mu.Unlock()
}

// Ask runs the interpreter at path for its version and its own path: a version manager's script is slow, and may mean
// another one tomorrow.
func (u *Builder) Ask(ctx context.Context, mark, path string) (Interpreter, error) {
	done, err := u.Child(ctx, tool.Command{
		Argv: []string{path, "-I", "-c", `import sys; print("%d.%d.%d" % sys.version_info[:3]); print(sys.executable)`},
		Env:  tool.Environ(u.Environ), Mark: mark,
	})
	if ctx.Err() != nil {
		return Interpreter{}, ctx.Err()
	}
	version, itself, _ := strings.Cut(strings.TrimSpace(string(done.Stdout)), "\n")
	i := Interpreter{Path: path, Version: strings.TrimSpace(version)} // Windows ends lines with \r\n
	if filepath.IsAbs(itself) && tool.Executable(itself) {
		i.Path = itself
	}
	_, ok := Numbers(i.Version)
	switch {
	case builder.CauseOf(err) != "":
		return i, err
	case err != nil || !ok:
		return i, builder.Errorf(builder.CausePythonMissing, "correct python of the pool in the configuration",
			"%s, which was asked for, is not a Python that can be run", path).Saying(done.Output)
	case CompareVersions(i.Version, MinPython) < 0:
		return i, builder.Errorf(builder.CausePythonMissing, nameNewer,
			"needs Python >= %s, found %s at %s", MinPython, i.Version, path)
	}
	return i, nil
}
