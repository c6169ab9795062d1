package uv

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// install brings the venv at dir to exactly what the lock file says: offline if the cache has everything, else
// online, else with everything downloaded again. That also repairs what a failed try left, which uv would take for
// installed. After a failed build (again) it starts with the last of these, and trusts nothing in the cache.
func (u *Builder) install(ctx context.Context, tool, lock, dir string, again bool, progress func(builder.Stage)) error {
	var err error
	tries := []struct {
		stage builder.Stage
		flag  []string
	}{
		{builder.Stage{Name: builder.StageInstalling, Message: "installing from the cache"}, []string{"--offline"}},
		{builder.Stage{Name: builder.StageDownloading, Message: "downloading what the cache lacks"}, nil},
		{builder.Stage{Name: builder.StageDownloading, Message: "downloading everything anew"},
			[]string{"--reinstall", "--refresh"}},
	}
	if again {
		slices.Reverse(tries)
	}
	for i, try := range tries {
		progress(try.stage)
		_, err = u.Run(ctx, tool, dir,
			append([]string{"pip", "sync", "--python", builder.VenvPython(dir), lock}, try.flag...)...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		switch c := builder.CauseOf(err); {
		case c == builder.CauseDiskFull, c == builder.CausePermission, !again && i > 0 && (c == builder.CauseNetwork ||
			c == builder.CauseAuth):
			return err // the next try would fail the same way
		}
	}
	return err
}

//go:embed verify.py
var verifyScript string

// verified imports the kernel with the environment's own Python, checks that every installed file is there, and
// reports what is. again means that the kernel's part was verified before.
func (u *Builder) verified(ctx context.Context, dir string, again bool) (builder.Built, error) {
	complete := make(chan error, 1)
	var size int64
	go func() { // meanwhile, on another core
		err := wholeSites(ctx, dir)
		if again { // nothing more will be compiled
			size = envdir.DiskSize(ctx, dir)
		}
		complete <- err
	}()
	said, err := u.imports(ctx, dir, again)
	if err := errors.Join(err, <-complete); err != nil {
		return builder.Built{}, NotWhole(ctx, err)
	}
	packages, err := distributions(said.SitePackages)
	if err != nil {
		return builder.Built{},
			&builder.Error{Cause: builder.CauseVerifyFailed,
				Message: "the environment's packages cannot be listed: " + err.Error()}
	}
	sentinels, err := Inside(dir,
		append([]string{builder.VenvPython(dir), filepath.Join(dir, "pyvenv.cfg")}, said.Sentinels...))
	if err != nil {
		return builder.Built{}, err
	}
	act := venvActivation(dir)
	return builder.Built{
		Python: builder.VenvPython(dir), PythonVersion: said.Version, Packages: packages, SizeBytes: size,
		Sentinels: sentinels,
		Variables: act.Variables, PathPrepend: act.PathPrepend,
	}, nil
}

// venvActivation is the activation of the venv at dir.
func venvActivation(dir string) builder.Activation {
	return builder.Activation{
		Variables: map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil, "CONDA_PREFIX": nil,
			"CONDA_DEFAULT_ENV": nil},
		PathPrepend: []string{builder.Scripts(dir)},
	}
}

// NotWhole is the failure of a build whose environment did not pass.
func NotWhole(ctx context.Context, err error) error {
	var b *builder.Error
	if errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	if b = builder.MachineSymptom(err.Error()); b != nil { // it could not be checked
		b.Output = err.Error()
		return b
	}
	return &builder.Error{Cause: builder.CauseVerifyFailed,
		Message: "the environment was built, but is not whole: " + err.Error(), Hint: builder.ByItself}
}

// Inside makes paths relative to the environment at dir. It fails if one is outside.
func Inside(dir string, paths []string) ([]string, error) {
	var names []string
	for _, path := range paths {
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			return nil, &builder.Error{
				Cause:   builder.CauseVerifyFailed,
				Message: fmt.Sprintf("the kernel is not in the environment: %s was imported", path),
				Hint:    "add ipykernel to the pool's packages",
			}
		}
		names = append(names, rel)
	}
	return names, nil
}

// VerifySays is the answer of verify.py.
type VerifySays struct {
	Version      string   `json:"version"`
	SitePackages string   `json:"site_packages"`
	Sentinels    []string `json:"sentinels"`
}

func (u *Builder) imports(ctx context.Context, dir string, again bool) (VerifySays, error) {
	cwd, err := u.Workdir()
	if err != nil {
		return VerifySays{}, err
	}
	c := tool.Command{Dir: cwd, Env: venvActivation(dir).Environ(tool.Environ(u.Environ)), Mark: dir}
	if again {
		return ImportKernel(ctx, c, builder.VenvPython(dir), u.Dir, "again")
	}
	return ImportKernel(ctx, c, builder.VenvPython(dir), u.Dir)
}

// ImportKernel runs verify.py with an environment's Python, as the child c. It runs as users will run it, so without
// -I, which would leave out what a kernel reads. state is the state directory.
func ImportKernel(ctx context.Context, c tool.Command, python, state string, args ...string) (VerifySays, error) {
	var said VerifySays
	c.Argv = append([]string{python, "-c", verifyScript}, args...)
	done, err := tool.Run(ctx, c)
	if ctx.Err() != nil {
		return said, ctx.Err()
	}
	if err == nil {
		err = json.Unmarshal(done.Stdout, &said)
	}
	if err == nil {
		return said, nil
	}
	if b := builder.MachineError("the Python of the environment", done.Output, err); b != nil {
		return said, b
	}
	b := &builder.Error{
		Cause: builder.CauseVerifyFailed, Message: "the environment was built, but its Python cannot import the kernel",
		Output: done.Output,
		Hint:   "see the output; the pool's packages may not go together",
	}
	if errors.Is(err, syscall.EACCES) || strings.Contains(done.Output, "failed to map segment") {
		b.Hint = fmt.Sprintf(
			"%s may be on a file system mounted noexec; cache_dir in the configuration names another place", state)
	}
	return said, b
}
