package pool

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
)

// install brings the venv at dir to exactly what the lock says: without the network where the cache has everything, else with it,
// else asking the index anew. That last try also undoes what a half failed one left, which uv would take for installed.
// again says that a try before this one failed: then nothing in the cache is trusted, as long as the network is there.
func (u *UV) install(ctx context.Context, tool, lock, dir string, again bool, progress func(Stage)) error {
	var err error
	tries := []struct {
		stage Stage
		flag  []string
	}{
		{Stage{Name: StageInstalling, Message: "installing from the cache"}, []string{"--offline"}},
		{Stage{Name: StageDownloading, Message: "downloading what the cache lacks"}, nil},
		{Stage{Name: StageDownloading, Message: "downloading everything anew"}, []string{"--reinstall", "--refresh"}},
	}
	if again {
		slices.Reverse(tries)
	}
	for i, try := range tries {
		progress(try.stage)
		_, err = u.uv(ctx, tool, dir, append([]string{"pip", "sync", "--python", venvPython(dir), lock}, try.flag...)...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		switch c := causeOf(err); {
		case c == CauseDiskFull, c == CausePermission, !again && i > 0 && (c == CauseNetwork || c == CauseAuth):
			return err // once more would end the same way
		}
	}
	return err
}

//go:embed verify.py
var verifyScript string

// verified runs the environment's own Python, which imports the kernel, sees whether every file is there that was to be installed,
// and tells what is there. again says that the kernel's part is what it was when it was verified before.
func (u *UV) verified(ctx context.Context, dir string, again bool) (Built, error) {
	complete := make(chan error, 1)
	var size int64
	go func() { // on another core meanwhile
		err := wholeSites(ctx, dir)
		if again { // nothing more is compiled
			size = diskSize(ctx, dir)
		}
		complete <- err
	}()
	said, err := u.imports(ctx, dir, again)
	if err := errors.Join(err, <-complete); err != nil {
		return Built{}, notWhole(ctx, err)
	}
	packages, err := distributions(said.SitePackages)
	if err != nil {
		return Built{}, &BuildError{Cause: CauseVerifyFailed, Message: "the environment's packages cannot be listed: " + err.Error()}
	}
	sentinels, err := inside(dir, append([]string{venvPython(dir), filepath.Join(dir, "pyvenv.cfg")}, said.Sentinels...))
	if err != nil {
		return Built{}, err
	}
	act := venvActivation(dir)
	return Built{
		Python: venvPython(dir), PythonVersion: said.Version, Packages: packages, SizeBytes: size, Sentinels: sentinels,
		Variables: act.variables, PathPrepend: act.pathPrepend,
	}, nil
}

// venvActivation is what "activated" means for the venv at dir.
func venvActivation(dir string) activation {
	return activation{
		variables:   map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil, "CONDA_PREFIX": nil, "CONDA_DEFAULT_ENV": nil},
		pathPrepend: []string{scripts(dir)},
	}
}

// notWhole is the failure of a build whose environment turned out not to be whole.
func notWhole(ctx context.Context, err error) error {
	var b *BuildError
	if errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	if s := machineSymptom(err.Error()); s != nil { // it could not be looked at
		return &BuildError{Cause: s.cause, Message: s.say, Hint: s.hint, Output: err.Error(), machine: true}
	}
	return &BuildError{Cause: CauseVerifyFailed, Message: "the environment was built, but is not whole: " + err.Error(), Hint: byItself}
}

// inside names paths relative to the environment at dir that they have to lie in.
func inside(dir string, paths []string) ([]string, error) {
	var names []string
	for _, path := range paths {
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			return nil, &BuildError{
				Cause: CauseVerifyFailed, Message: fmt.Sprintf("the kernel is not in the environment: %s was imported", path),
				Hint: "add ipykernel to the pool's packages",
			}
		}
		names = append(names, rel)
	}
	return names, nil
}

// verifySays is what verify.py prints.
type verifySays struct {
	Version      string   `json:"version"`
	SitePackages string   `json:"site_packages"`
	Sentinels    []string `json:"sentinels"`
}

func (u *UV) imports(ctx context.Context, dir string, again bool) (verifySays, error) {
	cwd, err := u.workdir()
	if err != nil {
		return verifySays{}, err
	}
	c := child{dir: cwd, env: venvActivation(dir).environ(childEnv(u.environ)), mark: dir}
	if again {
		return importKernel(ctx, c, venvPython(dir), u.dir, "again")
	}
	return importKernel(ctx, c, venvPython(dir), u.dir)
}

// importKernel runs verify.py with an environment's python, as the child c: activated as for those who get it, so without -I, which
// would keep out what a kernel reads. state is the state directory.
func importKernel(ctx context.Context, c child, python, state string, args ...string) (verifySays, error) {
	var said verifySays
	c.argv = append([]string{python, "-c", verifyScript}, args...)
	done, err := run(ctx, c)
	if ctx.Err() != nil {
		return said, ctx.Err()
	}
	if err == nil {
		err = json.Unmarshal(done.stdout, &said)
	}
	if err == nil {
		return said, nil
	}
	if b := machineError("the Python of the environment", done.output, err); b != nil {
		return said, b
	}
	b := &BuildError{
		Cause: CauseVerifyFailed, Message: "the environment was built, but its Python cannot import the kernel", Output: done.output,
		Hint: "see the output; the pool's packages may not go together",
	}
	if errors.Is(err, syscall.EACCES) || strings.Contains(done.output, "failed to map segment") {
		b.Hint = fmt.Sprintf("%s may be on a file system mounted noexec; cache_dir in the configuration names another place", state)
	}
	return said, b
}
