package conda

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// condaRequirements pins py-rattler, with the hashes of its wheels for every platform.
//
//go:embed requirements.txt
var condaRequirements string

const (
	rattlerPython = "3.10" // required by py-rattler
	VenvPrefix    = "rattler-"
)

// RattlerVersion is the pinned version.
func RattlerVersion() string {
	version, _, _ := strings.Cut(strings.TrimPrefix(condaRequirements, "py-rattler=="), " ")
	return version
}

func (r *rattler) venv() string { return filepath.Join(r.c.uv.Tools(), VenvPrefix+RattlerVersion()) }

// ready returns the Python that has rattler. It makes the venv if there is none, or its base is gone.
func (r *rattler) ready(ctx context.Context, mark string, progress func(builder.Stage)) (python string, err error) {
	python = builder.VenvPython(r.venv())
	if tool.Executable(python) {
		return python, nil
	}
	done, err := r.turns.Take(ctx, "")
	if err != nil {
		return "", err
	}
	defer done()
	if tool.Executable(python) {
		return python, nil
	}
	if err := r.makeVenv(ctx, mark, progress); err != nil {
		return "", noRattler(ctx, err)
	}
	return python, nil
}

// makeVenv installs rattler into a venv that appears whole or not at all.
func (r *rattler) makeVenv(ctx context.Context, mark string, progress func(builder.Stage)) error {
	u := r.c.uv
	tool, err := u.Find(ctx, mark, progress)
	if err != nil {
		return err
	}
	python, err := u.Interpreter(ctx, tool, mark, "", progress)
	if err == nil && uv.CompareVersions(python.Version, rattlerPython) < 0 {
		python, err = u.Interpreter(ctx, tool, mark, uv.DefaultPython, progress)
	}
	if err != nil {
		return err
	}
	progress(builder.Stage{Name: builder.StageDownloading, Message: "fetching rattler " + RattlerVersion()})
	tmp, remove, err := u.Scratch(u.Tools(), statedir.FetchPrefix)
	if err != nil {
		return err
	}
	defer remove()
	dir, requirements := filepath.Join(tmp, "venv"), filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(condaRequirements), 0o600); err != nil {
		return envdir.DiskError(err)
	}
	if err := u.Venv(ctx, tool, mark, python, dir); err != nil {
		return err
	}
	sync := []string{"pip", "sync", "--python", builder.VenvPython(dir), "--require-hashes", "--only-binary", ":all:",
		requirements}
	for _, flags := range [][]string{{"--offline"}, nil, {"--refresh"}} {
		_, err = u.Run(ctx, tool, mark, append(slices.Clone(sync), flags...)...)
		cause := builder.CauseOf(err)
		if err == nil || ctx.Err() != nil || cause == builder.CauseDiskFull || cause == builder.CausePermission ||
			flags == nil && cause != builder.CauseCorrupt {
			break // uv would take a half installed package for whole
		}
	}
	if err != nil {
		return err
	}
	if output, err := r.imports(ctx, mark, builder.VenvPython(dir)); err != nil {
		return builder.Errorf(builder.CauseToolMissing,
			"uv's cache may be damaged: uv cache clean py-rattler; or install micromamba, mamba or conda",
			"it was fetched, but cannot be imported").Saying(output)
	}
	if envdir.Exists(r.venv()) && !statedir.IsTool(r.venv()) {
		if _, err := uv.SetAside(r.c.log, r.venv(), errors.New("it is not a venv of the daemon's")); err != nil {
			return err
		}
	}
	return envdir.DiskError(statedir.Install(dir, r.venv()))
}

// imports checks that a Python has rattler.
func (r *rattler) imports(ctx context.Context, mark, python string) (output string, err error) {
	// as the helper does
	const try = "from rattler import InstallerReporter; from rattler.package_cache import ValidationMode"
	done, err := r.c.uv.Child(ctx,
		tool.Command{Argv: []string{python, "-I", "-c", try}, Env: r.c.ChildEnv(), Mark: mark})
	return done.Output, err
}

// damaged reports whether the venv is why a helper does not run, and not a lack of memory, say.
func (r *rattler) damaged(ctx context.Context, mark string) bool {
	_, err := r.imports(ctx, mark, builder.VenvPython(r.venv()))
	var exit *exec.ExitError
	return ctx.Err() == nil && (errors.As(err, &exit) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, os.ErrPermission) ||
		errors.Is(err, syscall.ENOEXEC))
}

// repair removes a venv that does not work, unless another build has replaced it.
func (r *rattler) repair(ctx context.Context, mark string) error {
	done, err := r.turns.Take(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	if !r.damaged(ctx, mark) {
		return ctx.Err()
	}
	if !statedir.IsTool(r.venv()) {
		_, err := uv.SetAside(r.c.log, r.venv(), errors.New("it is not a venv of the daemon's"))
		return err
	}
	return envdir.DiskError(statedir.RemoveTool(r.venv()))
}

// noRattler says what could not be had, and for what.
func noRattler(ctx context.Context, err error) error {
	var b *builder.Error
	if !errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	said := *b
	said.Message = "rattler " + RattlerVersion() + ", which makes conda environments, cannot be had: " + b.Message
	switch b.Cause {
	case builder.CausePythonMissing:
		said.Message = "rattler, which makes conda environments, needs Python >= " + rattlerPython +
			", and uv could not find or fetch one"
		said.Hint = "install Python >= " + rattlerPython + ", or micromamba, mamba or conda"
	case builder.CausePackageNotFound, builder.CauseUnsatisfiable:
		said.Package, said.Hint = "",
			"uv.index_url must name an index that has py-rattler; or install micromamba, mamba or conda"
	}
	return &said
}

// condaVariables are what children get for conda tools.
var condaVariables = []string{"CONDARC", "MAMBARC", "CONDA_PKGS_DIRS", "RATTLER_AUTH_FILE"}

// ChildEnv is the environment of the tools that make conda environments.
func (c *Builder) ChildEnv() []string {
	env := tool.Environ(c.environ)
	for _, v := range c.environ {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(condaVariables, func(v string) bool { return tool.SameName(v, name) }) ||
			strings.HasPrefix(name, "CONDA_OVERRIDE_") {
			env = append(env, v)
		}
	}
	return env
}
