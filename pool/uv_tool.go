package pool

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// uvRequirements pins the uv that is fetched where there is none, with the hashes of its wheels for every platform.
//
//go:embed uv_requirements.txt
var uvRequirements string

// uvVersion is the pinned version.
func uvVersion() string {
	version, _, _ := strings.Cut(strings.TrimPrefix(uvRequirements, "uv=="), " ")
	return version
}

// elsewhere is where installers put uv and Python; a service manager's PATH does not name all of them.
var elsewhere = []string{"/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"}

// find returns the path of uv: as configured, on PATH, where installers put it, or fetched by an earlier build or now.
func (u *UV) find(ctx context.Context, mark string, progress func(Stage)) (string, error) {
	select {
	case u.fetching <- struct{}{}:
		defer func() { <-u.fetching }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	u.tidied.Do(u.tidy)
	u.mu.Lock()
	known, cfg := u.tool, u.cfg
	u.mu.Unlock()
	if known != "" && executable(known) {
		return known, nil
	}
	tool, how, err := u.locate(ctx, mark, cfg, progress)
	if err != nil {
		return "", err
	}
	u.log.Info("uv found", zap.String("path", tool), zap.String("how", how))
	u.mu.Lock()
	if u.cfg == cfg { // else it was configured anew meanwhile
		u.tool = tool
	}
	u.mu.Unlock()
	return tool, nil
}

func (u *UV) locate(ctx context.Context, mark string, cfg UVConfig, progress func(Stage)) (tool, how string, err error) {
	if cfg.Path != "" {
		if executable(cfg.Path) {
			return cfg.Path, "uv.path in the configuration", nil
		}
		return "", "", &BuildError{
			Cause: CauseToolMissing, Message: fmt.Sprintf("uv.path names %s, which is no program that can be run", cfg.Path),
			Hint: "correct uv.path in the configuration, or remove it to have uv looked up",
		}
	}
	for _, path := range onPath(filepath.SplitList(lookup(u.environ, "PATH")), "uv") {
		if u.works(ctx, mark, path) {
			return path, "on PATH", nil
		}
	}
	home := lookup(u.environ, "HOME")
	places := append([]string{filepath.Join(home, ".local", "bin"), filepath.Join(home, ".cargo", "bin")}, u.elsewhere...)
	for _, path := range onPath(places, "uv") {
		if u.works(ctx, mark, path) {
			return path, "where installers put it", nil
		}
	}
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	fetched := filepath.Join(u.tools(), "uv-"+uvVersion())
	path := filepath.Join(fetched, "bin", "uv")
	if executable(path) {
		return path, "fetched earlier", nil
	}
	progress(Stage{Name: StageDownloading, Message: "fetching uv " + uvVersion()})
	if err := u.fetch(ctx, mark, cfg, fetched); err != nil {
		return "", "", err
	}
	return path, "fetched", nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// works says whether a program named uv is one: version managers leave shims that only say that they have none.
func (u *UV) works(ctx context.Context, mark, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	done, err := u.uv(ctx, path, mark, "--version")
	if err != nil && ctx.Err() == nil {
		u.log.Info("a program named uv cannot be used; looking further", zap.String("path", path), zap.String("output", done.output), zap.Error(err))
	}
	return err == nil
}

// onPath are the programs of that name in the folders; folders relative to the working directory do not count.
func onPath(dirs []string, name string) []string {
	var found []string
	for _, dir := range dirs {
		if p := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(p) && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	return found
}

// fetch installs the pinned uv into a folder of its own by way of a Python of this machine and its pip, so that the user's own
// index, proxy and certificates hold. The folder appears whole or not at all.
func (u *UV) fetch(ctx context.Context, mark string, cfg UVConfig, to string) error {
	tools := filepath.Dir(to)
	if err := os.MkdirAll(tools, 0o700); err != nil {
		return diskError(err)
	}
	tmp, err := os.MkdirTemp(tools, ".fetch-")
	if err != nil {
		return diskError(err)
	}
	defer os.RemoveAll(tmp)
	requirements := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(uvRequirements), 0o600); err != nil {
		return diskError(err)
	}
	install := []string{
		"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
		"--only-binary", ":all:", "--require-hashes", "-r", requirements,
	}
	var tried []string
	var last *BuildError
	for _, python := range machinePythons(append(filepath.SplitList(lookup(u.environ, "PATH")), u.elsewhere...)) {
		// a venv is the clean way; Debian's bare Python cannot make one with pip, yet may have a pip of its own
		venv := filepath.Join(tmp, "venv")
		done, err := u.python(ctx, mark, cfg, python, "-m", "venv", venv)
		if err == nil {
			done, err = u.python(ctx, mark, cfg, venvPython(venv), install...)
		} else if ctx.Err() == nil {
			_ = os.RemoveAll(venv)
			bare, bareErr := u.python(ctx, mark, cfg, python, append(slices.Clone(install), "--target", venv)...)
			if bareErr == nil || !strings.Contains(bare.output, "No module named pip") {
				done, err = bare, bareErr
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && executable(filepath.Join(venv, "bin", "uv")) {
			_ = os.RemoveAll(to) // what a kill left of an earlier one
			if err := os.Rename(venv, to); err != nil {
				return diskError(err)
			}
			return nil
		}
		_ = os.RemoveAll(venv)
		tried = append(tried, python)
		last = pipError(python, done.output, err)
		if last.Cause == CauseNetwork || last.Cause == CauseAuth || last.Cause == CauseDiskFull {
			break // another Python would meet the same
		}
	}
	return notFetched(tried, last)
}

// notFetched says what was tried to get uv, and the three ways out.
func notFetched(tried []string, last *BuildError) *BuildError {
	b := &BuildError{
		Cause: CauseToolMissing, Message: "uv is not on this machine, and there is no Python to fetch it with",
		Hint: "three ways out: install uv (https://docs.astral.sh/uv), name one as uv.path in the configuration, or install a Python >= 3.9 with pip and venv",
	}
	if last != nil {
		b.Message = fmt.Sprintf("uv is not on this machine, and could not be fetched with %s: %s", strings.Join(tried, ", "), last.Message)
		b.Output = last.Output
	}
	return b
}

// pipElsewhere would have pip install into another place than it is told, or refuse to.
var pipElsewhere = []string{"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN"}

// python runs a Python of this machine for the fetch.
func (u *UV) python(ctx context.Context, mark string, cfg UVConfig, python string, args ...string) (finished, error) {
	cwd, err := u.workdir()
	if err != nil {
		return finished{}, err
	}
	env := slices.DeleteFunc(childEnv(u.environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(pipElsewhere, name)
	})
	if cfg.IndexURL != "" {
		env = append(env, "PIP_INDEX_URL="+cfg.IndexURL)
	}
	return run(ctx, child{argv: append([]string{python}, args...), dir: cwd, env: env, mark: mark})
}

// machinePythons are the interpreters that may fetch uv, each real file once: what python3 means first.
func machinePythons(dirs []string) []string {
	var found []string
	seen := map[string]bool{}
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9"} {
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			real, err := filepath.EvalSymlinks(path)
			if filepath.IsAbs(dir) && err == nil && executable(path) && !seen[real] {
				seen[real] = true
				found = append(found, path)
			}
		}
	}
	return found
}
