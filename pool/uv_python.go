package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	minPython     = "3.9"  // what ipykernel needs at the least
	defaultPython = "3.13" // fetched where the machine has none that will do
)

// interpreter is a Python that environments can be made with.
type interpreter struct {
	Path           string `json:"path"`
	Version        string `json:"version"`
	Implementation string `json:"implementation"`
	Variant        string `json:"variant"`
}

// args make uv take exactly this one.
func (i interpreter) args() []string { return []string{"--no-python-downloads", "--python", i.Path} }

// minor is the version without its last part: what a resolution depends on.
func (i interpreter) minor() string {
	parts := strings.SplitN(i.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// numbers are the parts of a version like 3.12.1; ok is false for pre-releases and what is no version.
func numbers(version string) (n [3]int, ok bool) {
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

func compareVersions(a, b string) int {
	x, _ := numbers(a)
	y, _ := numbers(b)
	return slices.Compare(x[:], y[:])
}

// interpreter finds the Python for want: empty is the newest suitable one, else a version or an absolute path. Where the machine
// has none, uv fetches one.
func (u *UV) interpreter(ctx context.Context, tool, mark, want string, progress func(Stage)) (interpreter, error) {
	if filepath.IsAbs(want) {
		return u.ask(ctx, mark, want)
	}
	if _, ok := numbers(want); ok && strings.Contains(want, ".") && compareVersions(want, minPython) < 0 {
		return interpreter{}, &BuildError{
			Cause: CausePythonMissing, Message: fmt.Sprintf("needs Python >= %s, and %s was asked for", minPython, want),
			Hint: "name a newer one as python of the pool in the configuration",
		}
	}
	if specifiers(want) && !satisfiable(">="+minPython+","+want) {
		return interpreter{}, &BuildError{
			Cause: CausePythonMissing, Message: fmt.Sprintf("needs Python >= %s, and %s was asked for", minPython, want), Hint: "ask for a newer one",
		}
	}
	if known, ok := u.knownPython(want); ok {
		return known, nil
	}
	done, err := u.alone(ctx, "python "+want)
	if err != nil {
		return interpreter{}, err
	}
	defer done()
	if known, ok := u.knownPython(want); ok {
		return known, nil
	}
	list, err := u.installed(ctx, tool, mark)
	if err != nil {
		return interpreter{}, err
	}
	best, ok := choose(list, want)
	if !ok {
		version := cmp.Or(want, defaultPython)
		progress(Stage{Name: StageDownloading, Message: "fetching Python " + version})
		if _, err = u.uv(ctx, tool, mark, "python", "install", version); err == nil {
			list, err = u.installed(ctx, tool, mark)
		}
		if ctx.Err() != nil {
			return interpreter{}, ctx.Err()
		}
		if best, ok = choose(list, want); !ok {
			return interpreter{}, noPython(want, list, err)
		}
	}
	if itself, err := u.ask(ctx, mark, best.Path); err == nil {
		best = itself
	}
	u.mu.Lock()
	u.pythons[want] = best
	u.mu.Unlock()
	return best, nil
}

// choose is the newest interpreter that will do.
func choose(list []interpreter, want string) (best interpreter, ok bool) {
	for _, i := range list {
		_, final := numbers(i.Version)
		switch {
		case !final || i.Implementation != "cpython" || i.Variant != "default":
		case compareVersions(i.Version, minPython) < 0:
		case !satisfies(i.Version, want):
		case !ok || compareVersions(i.Version, best.Version) > 0:
			best, ok = i, true
		}
	}
	return best, ok
}

// noPython says what was needed, what was found instead, and why none could be fetched.
func noPython(want string, list []interpreter, fetch error) error {
	needs := "Python >= " + minPython
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
	b := &BuildError{
		Cause: CausePythonMissing, Message: fmt.Sprintf("needs %s, %s, and uv could not fetch one", needs, found),
		Hint: "install " + needs + ", or name one as python of the pool in the configuration",
	}
	if f, ok := fetch.(*BuildError); ok {
		b.Output = f.Output
	}
	return b
}

// installed lists the interpreters of this machine.
func (u *UV) installed(ctx context.Context, tool, mark string) ([]interpreter, error) {
	done, err := u.uv(ctx, tool, mark, "python", "list", "--only-installed", "--output-format", "json")
	if err != nil {
		return nil, err
	}
	var list []interpreter
	if err := json.Unmarshal(done.stdout, &list); err != nil {
		return nil, &BuildError{Cause: CauseOther, Message: "uv's list of interpreters cannot be read: " + err.Error(), Output: done.output}
	}
	return list, nil
}

func (u *UV) knownPython(want string) (interpreter, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.pythons[want]
	return known, ok && executable(known.Path)
}

// forgetPythons has interpreters looked for anew.
func (u *UV) forgetPythons() {
	u.mu.Lock()
	u.pythons = map[string]interpreter{}
	u.mu.Unlock()
}

// ask runs the interpreter at path for its version, and for where it is itself: the script of a version manager is slow, and means
// another one tomorrow.
func (u *UV) ask(ctx context.Context, mark, path string) (interpreter, error) {
	cwd, err := u.workdir()
	if err != nil {
		return interpreter{}, err
	}
	done, err := run(ctx, child{
		argv: []string{path, "-I", "-c", `import sys; print("%d.%d.%d" % sys.version_info[:3]); print(sys.executable)`}, dir: cwd, env: childEnv(u.environ),
		mark: mark,
	})
	if ctx.Err() != nil {
		return interpreter{}, ctx.Err()
	}
	version, itself, _ := strings.Cut(strings.TrimSpace(string(done.stdout)), "\n")
	i := interpreter{Path: path, Version: version}
	if filepath.IsAbs(itself) && executable(itself) {
		i.Path = itself
	}
	_, ok := numbers(i.Version)
	switch {
	case err != nil || !ok:
		return i, &BuildError{
			Cause: CausePythonMissing, Message: fmt.Sprintf("%s, which was asked for, is no Python that can be run", path),
			Hint: "correct python of the pool in the configuration", Output: done.output,
		}
	case compareVersions(i.Version, minPython) < 0:
		return i, &BuildError{
			Cause: CausePythonMissing, Message: fmt.Sprintf("needs Python >= %s, found %s at %s", minPython, i.Version, path),
			Hint: "name a newer one as python of the pool in the configuration",
		}
	}
	return i, nil
}
