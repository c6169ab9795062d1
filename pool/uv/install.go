package uv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// install brings the venv to exactly what the lock file or the project says.
func (b *build) install(ctx context.Context) error {
	if b.project != nil {
		return b.installProject(ctx)
	}
	argv := []string{"pip", "sync", "--python", builder.VenvPython(b.mark), b.path}
	if b.hashed() {
		argv = append(argv, "--require-hashes")
	}
	return b.withStore(ctx, b.inWorkdir, argv...)
}

// inWorkdir runs uv in our own empty folder.
func (b *build) inWorkdir(ctx context.Context, c call) (tool.Result, error) {
	return b.runIn(ctx, "", b.ToolEnviron(), c)
}

// withStore is like tries, for what has hashes, and looks in the store before it asks the index. What is wrong with the
// store fails no build.
func (b *build) withStore(ctx context.Context, run runner, argv ...string) error {
	store := b.fromStore()
	if len(store) == 0 || b.again {
		return b.tries(ctx, run, argv...)
	}
	b.progress(builder.Stage{Name: builder.StageInstalling, Message: "installing from the cache and the store"})
	var err error
	// uv takes a wheel that it knows from the index for the better one, even if only the store has it at hand.
	for _, flags := range [][]string{{"--offline"}, {"--offline", "--no-index"}} {
		_, err = run(ctx, call{args: slices.Concat(argv, flags), env: store})
		if err == nil || ctx.Err() != nil || builder.CauseOf(err) == builder.CauseDiskFull {
			return err
		}
	}
	b.log.Info("the store does not have all that is to be installed", zap.Error(err))
	return b.norStore(b.tries(ctx, run, argv...), err)
}

// norStore adds to a failure to reach the index why the store was of no help.
func (b *build) norStore(err, store error) error {
	var index, found *builder.Error
	if !builder.Unreachable(err) || !errors.As(err, &index) || !errors.As(store, &found) {
		return err
	}
	said := *index
	said.Message += "; the store " + b.Config().Store + " does not have all that is needed"
	if found.Cause == builder.CauseCorrupt {
		said.Message += ": a file there is damaged"
	}
	said.Output = found.Output + "\n" + index.Output
	return &said
}

// tries installs by a command of uv: offline if the cache has everything, else online, else with everything downloaded
// again. That also repairs what a failed try left, which uv would take for installed. After a failed build it starts
// with the last of these.
func (b *build) tries(ctx context.Context, run runner, argv ...string) error {
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
	if b.again {
		slices.Reverse(tries)
	}
	for i, try := range tries {
		b.progress(try.stage)
		_, err = run(ctx, call{args: slices.Concat(argv, try.flag)})
		if err == nil || ctx.Err() != nil {
			return err
		}
		switch c := builder.CauseOf(err); {
		case c == builder.CauseDiskFull, c == builder.CausePermission, c == builder.CauseLockOutdated,
			i > 0 && c == builder.CauseSourceBuild,
			!b.again && i > 0 && builder.Withheld(err):
			return err // the next try would fail the same way
		}
	}
	return err
}

// verified imports the kernel with the environment's own Python, checks that every installed file is there, and
// reports what is. again means that the kernel's part was verified before.
func (u *Builder) verified(ctx context.Context, dir string, again bool, preload []string) (builder.Built, error) {
	var size int64
	said, err := Verified(ctx, dir, func() error {
		err := wholeSites(ctx, dir)
		if again { // nothing more will be compiled
			size = envdir.DiskSize(ctx, dir)
		}
		return err
	}, func() (standby.Says, error) { return u.imports(ctx, dir, standby.CheckArgs(again, preload)) },
		builder.VenvPython(dir), filepath.Join(dir, "pyvenv.cfg"))
	if err != nil {
		return builder.Built{}, err
	}
	packages, err := distributions(said.SitePackages)
	if err != nil {
		return builder.Built{}, NotListed(err)
	}
	act := venvActivation(dir)
	return builder.Built{
		Python: builder.VenvPython(dir), PythonVersion: said.Version, Packages: packages, SizeBytes: size,
		Sentinels: said.Sentinels, Variables: act.Variables, PathPrepend: act.PathPrepend,
	}, nil
}

// Verified looks through the files of the environment at dir with whole, on another core, while imports imports its
// kernel. It returns the answer, in which the sentinels are inside the environment, own files of it first.
func Verified(ctx context.Context, dir string, whole func() error, imports func() (standby.Says, error),
	own ...string) (standby.Says, error) {
	complete := make(chan error, 1)
	go func() { complete <- whole() }()
	said, err := imports()
	if err := errors.Join(err, <-complete); err != nil {
		return said, notWhole(ctx, err)
	}
	said.Sentinels = append(own, said.Sentinels...)
	for i, path := range said.Sentinels {
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			return said, builder.Errorf(builder.CauseVerifyFailed, "add ipykernel to the pool's packages",
				"the kernel is not in the environment: %s was imported", path)
		}
		said.Sentinels[i] = rel
	}
	return said, nil
}

// NotListed is the failure of a build whose environment does not tell its packages.
func NotListed(err error) error {
	return builder.Errorf(builder.CauseVerifyFailed, "", "the environment's packages cannot be listed: %s", err)
}

// venvActivation is the activation of the venv at dir.
func venvActivation(dir string) builder.Activation {
	return builder.Activation{
		Variables: map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil, "CONDA_PREFIX": nil,
			"CONDA_DEFAULT_ENV": nil},
		PathPrepend: []string{builder.Scripts(dir)},
	}
}

// notWhole is the failure of a build whose environment did not pass.
func notWhole(ctx context.Context, err error) error {
	var b *builder.Error
	if errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	if b = builder.MachineSymptom(err.Error()); b != nil { // it could not be checked
		return b.Saying(err.Error())
	}
	return builder.Errorf(builder.CauseVerifyFailed, builder.ByItself,
		"the environment was built, but is not whole: %s", err)
}

func (u *Builder) imports(ctx context.Context, dir string, args []string) (standby.Says, error) {
	return u.ImportKernel(ctx, dir, builder.VenvPython(dir), venvActivation(dir), args)
}

// ImportKernel runs the import check with the Python of the activated environment at dir: packages may need their
// activation. It runs as users will run it, so without -I, which would leave out what a kernel reads. Where ctx asks
// for it, the process stays.
func (u *Builder) ImportKernel(ctx context.Context, dir, python string, act builder.Activation,
	args []string) (said standby.Says, err error) {
	said, output, err := u.runCheck(ctx, dir, python, act.Environ(tool.Environ(u.Environ)), args)
	if err == nil || ctx.Err() != nil {
		return said, cmp.Or(ctx.Err(), err)
	}
	if b := builder.MachineError("the Python of the environment", output, err); b != nil {
		return said, b
	}
	hint := "see the output; the pool's packages may not go together"
	if errors.Is(err, syscall.EACCES) || strings.Contains(output, "failed to map segment") {
		hint = u.Dir + " may be on a file system mounted noexec; cache_dir in the configuration names another place"
	}
	return said, builder.Errorf(builder.CauseVerifyFailed, hint,
		"the environment was built, but its Python cannot import the kernel").Saying(output)
}

func (u *Builder) runCheck(ctx context.Context, dir, python string, vars, args []string) (said standby.Says,
	output string, err error) {
	if kept := builder.KeptIn(ctx); kept != nil {
		workdir, err := u.Workdir()
		if err != nil {
			return said, "", err
		}
		return kept.Start(ctx,
			standby.Command{Python: python, Env: dir, Dir: workdir, Vars: vars, Args: args})
	}
	done, err := u.Child(ctx,
		tool.Command{Argv: append([]string{python, "-c", standby.CheckScript}, args...), Env: vars, Mark: dir})
	if err == nil {
		err = json.Unmarshal(done.Stdout, &said)
	}
	return said, done.Output, err
}

// Standby starts a standby kernel in the finished environment at dir. ctx says where it is left; see builder.Keep.
func (u *Builder) Standby(ctx context.Context, built builder.Built, dir string) error {
	act := builder.Activation{Variables: built.Variables, PathPrepend: built.PathPrepend}
	_, err := u.ImportKernel(ctx, dir, built.Python, act, standby.CheckArgs(true, nil))
	return err
}
