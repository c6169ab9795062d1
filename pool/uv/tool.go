package uv

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// uvRequirements pins the uv that is fetched if there is none, with the hashes of its wheels for every platform.
//
//go:embed requirements.txt
var uvRequirements string

// Version is the pinned version.
func Version() string {
	version, _, _ := strings.Cut(strings.TrimPrefix(uvRequirements, "uv=="), " ")
	return version
}

// Find returns the path of uv: configured, on PATH, where installers put it, or fetched.
func (u *Builder) Find(ctx context.Context, mark string, progress func(builder.Stage)) (string, error) {
	return u.Lookup.Find(ctx, tool.Executable, func(cfg Config) (string, builder.Tool, error) {
		u.Tidied.Do(u.Tidy)
		found, err := u.Locate(ctx, mark, cfg, progress)
		if err == nil {
			u.log.Info("uv found", zap.String("path", found.Path), zap.String("version", found.Version),
				zap.String("why", found.Why))
		}
		return found.Path, found, err
	})
}

// Locate looks for uv, and fetches it if there is none.
func (u *Builder) Locate(ctx context.Context, mark string, cfg Config,
	progress func(builder.Stage)) (builder.Tool, error) {
	if cfg.Path != "" {
		if tool.Executable(cfg.Path) {
			version, _ := u.version(ctx, mark, cfg.Path) // on failure the builds say so
			return builder.Tool{Name: "uv", Path: cfg.Path, Version: version,
				Why: "uv.path in the configuration names it"}, ctx.Err()
		}
		return builder.Tool{}, builder.Errorf(builder.CauseToolMissing,
			"correct uv.path in the configuration, or remove it to have uv looked up",
			"uv.path names %s, which is not a program that can be run", cfg.Path)
	}
	for _, found := range Programs(u.Environ, "uv", []string{".local/bin", ".cargo/bin"}, u.Elsewhere) {
		var runs bool
		if found.Version, runs = u.version(ctx, mark, found.Path); runs {
			return found, nil
		}
	}
	if ctx.Err() != nil {
		return builder.Tool{}, ctx.Err()
	}
	fetched := filepath.Join(u.Tools(), "uv-"+Version())
	found := builder.Tool{Name: "uv", Path: ProgramBelow(fetched), Version: Version(),
		Why: "none was found, so it was fetched"}
	if tool.Executable(found.Path) {
		if _, runs := u.version(ctx, mark, found.Path); runs || ctx.Err() != nil {
			return found, ctx.Err()
		}
	}
	progress(builder.Stage{Name: builder.StageDownloading, Message: "fetching uv " + Version()})
	if ctx.Err() != nil {
		return builder.Tool{}, ctx.Err()
	}
	if err := u.fetch(ctx, mark, cfg, fetched); err != nil {
		return builder.Tool{}, err
	}
	found.Path = ProgramBelow(fetched)
	return found, nil
}

// ProgramBelow is where pip puts uv: among the programs of a venv, or in bin if it was given a target folder.
func ProgramBelow(dir string) string {
	if path := filepath.Join(dir, "bin", "uv"+tool.Exe); tool.Executable(path) {
		return path
	}
	return filepath.Join(builder.Scripts(dir), "uv"+tool.Exe)
}

// version asks a program named uv for its version; false if it is not uv: version managers leave shims that only say
// that they have none.
func (u *Builder) version(ctx context.Context, mark, path string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	done, err := u.Run(ctx, path, mark, "--version")
	if err != nil && ctx.Err() == nil {
		u.log.Info("a program named uv cannot be used; looking further", zap.String("path", path),
			zap.String("output", done.Output), zap.Error(err))
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(done.Stdout)), " ")
	version, _, _ = strings.Cut(version, " ") // a date may follow
	return version, err == nil
}

// Programs returns the programs of that name on PATH, then those where installers put them, below the home folder and
// elsewhere. Their versions are not known yet.
func Programs(environ []string, name string, atHome, elsewhere []string) (found []builder.Tool) {
	dirs := filepath.SplitList(tool.Lookup(environ, "PATH"))
	onPath := len(OnPath(dirs, name))
	for _, dir := range atHome {
		dirs = append(dirs, filepath.Join(tool.Lookup(environ, tool.HomeVariable), dir))
	}
	for i, path := range OnPath(append(dirs, elsewhere...), name) {
		why := "it is on PATH"
		if i >= onPath {
			why = "it is where installers put it"
		}
		found = append(found, builder.Tool{Name: name, Path: path, Why: why})
	}
	return found
}

// OnPath returns the programs of that name in the folders. Relative folders do not count.
func OnPath(dirs []string, name string) []string {
	var found []string
	for _, dir := range dirs {
		if p := filepath.Join(dir, name+tool.Exe); filepath.IsAbs(dir) && tool.Executable(p) &&
			!slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	return found
}

// fetch installs the pinned uv into a folder of its own with the pip of a Python of this machine, so that the user's
// index, proxy and certificates count. The folder appears whole or not at all.
func (u *Builder) fetch(ctx context.Context, mark string, cfg Config, to string) error {
	tools := filepath.Dir(to)
	tmp, remove, err := u.Scratch(tools, statedir.FetchPrefix)
	if err != nil {
		return err
	}
	defer remove()
	requirements := filepath.Join(tmp, "requirements.txt")
	if err := safefile.WriteOwn(requirements, []byte(uvRequirements), 0o600); err != nil {
		return envdir.DiskError(err)
	}
	var tried []string
	var last *builder.Error
	for _, python := range MachinePythons(append(filepath.SplitList(tool.Lookup(u.Environ, "PATH")), u.Elsewhere...)) {
		// A venv is the clean way. Debian's bare Python cannot make one with pip, but may have a pip.
		venv := filepath.Join(tmp, "venv")
		done, err := u.Python(ctx, mark, cfg, python, "-I", "-m", "venv", venv)
		if err == nil {
			done, err = u.pipInstall(ctx, mark, cfg, builder.VenvPython(venv), requirements)
		} else if ctx.Err() == nil {
			_ = envdir.RemoveFolder(venv)
			bare, bareErr := u.pipInstall(ctx, mark, cfg, python, requirements, "--target", venv)
			if bareErr == nil || !strings.Contains(bare.Output, "No module named pip") {
				done, err = bare, bareErr
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && tool.Executable(ProgramBelow(venv)) {
			if envdir.Exists(to) { // only now: it may run again later, and offline there would be none
				if _, err := SetAside(u.log, to, errors.New("it does not run")); err != nil {
					return err
				}
			}
			return envdir.DiskError(statedir.Install(venv, to))
		}
		_ = envdir.RemoveFolder(venv)
		tried = append(tried, python)
		last = u.PipError(python, done.Output, err)
		if builder.Withheld(last) || last.Cause == builder.CauseDiskFull {
			break // another Python would fail the same way
		}
	}
	return NotFetched(tried, last)
}

// NotFetched says what was tried, and the three ways out.
func NotFetched(tried []string, last *builder.Error) *builder.Error {
	b := &builder.Error{
		Cause: builder.CauseToolMissing, Message: "uv is not on this machine, and there is no Python to fetch it with",
		Hint: "three ways out: install uv (https://docs.astral.sh/uv), name one as uv.path in the configuration, or " +
			"install a Python >= 3.9 with pip and venv",
	}
	if last != nil {
		b.Message = fmt.Sprintf("uv is not on this machine, and could not be fetched with %s: %s",
			strings.Join(tried, ", "), last.Message)
		b.Output = last.Output
		switch {
		case last.Cause == builder.CauseCertificate: // which a uv would not accept either
			b.Cause, b.Hint = last.Cause, last.Hint
		case last.Cause != builder.CauseToolMissing && last.Hint != "": // the Python was not the problem
			b.Hint = last.Hint + "; else " + b.Hint
		}
	}
	return b
}

// pipElsewhere would make pip install elsewhere, or refuse to.
var pipElsewhere = []string{"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV",
	"PIP_DRY_RUN"}

// pythonEnv is the environment of a Python of this machine that fetches uv.
func (u *Builder) pythonEnv(cfg Config) []string {
	env := slices.DeleteFunc(tool.Environ(u.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(pipElsewhere, func(e string) bool { return tool.SameName(e, name) })
	})
	if cfg.IndexURL != "" {
		env = append(env, "PIP_INDEX_URL="+cfg.IndexURL)
	}
	// uv honours it, and pip only since 24.2. uv passes over a file that is not there; pip would fail.
	if name, file := u.pipCert(); name == builder.CertFile && filepath.IsAbs(file) && safefile.Exists(file) {
		env = append(env, pipVariable("cert")+"="+file)
	}
	return env
}

// pipCert is what tells pip whom to trust, and the file that it names.
func (u *Builder) pipCert() (name, file string) {
	if file = PipSetting(u.Environ, "cert"); file != "" {
		return "pip's setting cert", file
	}
	for _, name = range []string{"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", builder.CertFile} {
		if file = tool.Lookup(u.Environ, name); file != "" {
			break
		}
	}
	return name, file
}

// Python runs a Python of this machine for the fetch.
func (u *Builder) Python(ctx context.Context, mark string, cfg Config, python string,
	args ...string) (tool.Result, error) {
	return u.pythonWith(ctx, mark, u.pythonEnv(cfg), python, args...)
}

func (u *Builder) pythonWith(ctx context.Context, mark string, env []string, python string,
	args ...string) (tool.Result, error) {
	return u.Child(ctx, tool.Command{Argv: append([]string{python}, args...), Env: env, Mark: mark})
}

// pipInstall installs the pinned uv with the pip of a Python, by pipEnv.
func (u *Builder) pipInstall(ctx context.Context, mark string, cfg Config, python, requirements string,
	more ...string) (tool.Result, error) {
	env, listed, err := u.pipEnv(ctx, mark, cfg, python)
	if err != nil {
		return listed, err
	}
	install := func(env []string) (tool.Result, error) {
		return u.pythonWith(ctx, mark, env, python, append([]string{ // only without --quiet it says what is untrusted
			"-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--no-deps",
			"--only-binary", ":all:", "--require-hashes", "-r", requirements,
		}, more...)...)
	}
	if u.storedUV(env, install) {
		return tool.Result{}, nil
	}
	// It would try a certificate that it does not trust six times. Without retries it does not tell a network that
	// fails from an index that has no uv.
	done, err := install(append(slices.Clone(env), pipVariable("retries")+"=0"))
	if err == nil || ctx.Err() != nil {
		return done, err
	}
	switch builder.CauseOf(u.PipError(python, done.Output, err)) {
	case builder.CauseNetwork, builder.CausePackageNotFound:
		return install(env)
	}
	return done, err
}

// MachinePythons are the interpreters that may fetch uv, each file once, in the order of pythonNames.
func MachinePythons(dirs []string) []string {
	var found []string
	seen := map[string]bool{}
	for _, name := range pythonNames {
		for _, dir := range dirs {
			path := filepath.Join(dir, name+tool.Exe)
			real, err := safefile.Resolve(path)
			if filepath.IsAbs(dir) && err == nil && tool.Executable(path) && !seen[real] {
				seen[real] = true
				found = append(found, path)
			}
		}
	}
	return found
}
