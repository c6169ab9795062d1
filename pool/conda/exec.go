package conda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/project"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// condaProgram is micromamba, mamba or conda as a provider.
type condaProgram struct {
	c       *Builder
	name    string // a Provider constant
	path    string
	classic bool // it takes conda's flags: conda, and mamba before 2.0
}

func (p condaProgram) lockName() string { return p.name + ".txt" }

func (p condaProgram) compiles() bool { return true }
func (p condaProgram) Usable() bool   { return tool.Executable(p.path) }

// renew: none of them shows a solution without its packages at hand.
func (p condaProgram) renew(context.Context, string, condaJob) error { return errors.ErrUnsupported }

func (p condaProgram) create(ctx context.Context, dir string, job condaJob) error {
	if err := noOptions(job); err != nil {
		return err
	}
	if job.from == "" {
		specs := slices.Concat(job.specs, job.extra)
		if job.kernel && !slices.ContainsFunc(specs, func(s string) bool { return specName(s) == kernelPackage }) {
			specs = append(specs, kernelPackage)
		}
		if err := p.run(ctx, dir, append(p.flags(dir, job), specs...)); err != nil {
			return err
		}
		return p.lock(dir, job.to)
	}
	explicit := append(p.flags(dir, job), "--file", job.from)
	err := p.run(ctx, dir, append(slices.Clone(explicit), "--offline"))
	switch builder.CauseOf(err) {
	case builder.CauseDiskFull, builder.CausePermission, builder.CauseToolMissing:
		return err // the network would not help
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	job.progress(builder.Stage{Name: builder.StageDownloading, Message: "downloading what the cache lacks"})
	return p.run(ctx, dir, explicit)
}

// noOptions refuses what would pass for a flag.
func noOptions(job condaJob) error {
	for _, word := range slices.Concat(job.specs, job.extra, job.channels) {
		if strings.HasPrefix(word, "-") {
			return builder.Errorf(builder.CauseOther, "correct the pool's packages and channels",
				"%q is not the name of a package or channel", redact.Text(word))
		}
	}
	return nil
}

// flags are the arguments without the packages. The user's rc files stay in force, for mirrors, proxies and
// certificates, but not their channels.
func (p condaProgram) flags(dir string, job condaJob) []string {
	args := []string{"create", "-y", "--json"}
	if p.classic {
		args = append(args, "--quiet", "-p", dir)
	} else {
		// --json alone hides the reasons
		args = append(args, "--no-env", "--log-level", "error", "-r", p.root(), "-p", dir)
	}
	args = append(args, "--override-channels")
	for _, channel := range job.channels {
		args = append(args, "-c", channel)
	}
	if p.classic {
		return append(args, "--no-default-packages", "--no-shortcuts")
	}
	return append(args, "--strict-channel-priority", "--repodata-ttl", "86400", "--lock-timeout", "300")
}

// root is micromamba's root prefix: a package cache, not an environment.
func (p condaProgram) root() string { return filepath.Join(p.c.uv.Tools(), "mamba") }

// run makes the environment at dir, or leaves nothing there.
func (p condaProgram) run(ctx context.Context, dir string, args []string) error {
	if err := p.c.uv.NoFile(p.root()); err != nil {
		return err
	}
	env := append(p.c.ChildEnv(), condaOwn()...)
	if p.classic {
		env = append(env, "CONDA_REGISTER_ENVS=false", "MAMBA_NO_BANNER=1") // the user's list of environments is theirs
	} else {
		err := envdir.Usable(p.c.dir, p.root())
		if err == nil { // the tool refuses a root with a file of ours in it
			err = statedir.MakeFolder(filepath.Join(p.root(), "pkgs"))
		}
		if err != nil {
			return envdir.DiskError(err)
		}
	}
	done, err := p.c.uv.Child(ctx, tool.Command{Argv: append([]string{p.path}, args...), Env: env, Mark: dir})
	if ctx.Err() == nil && (errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)) {
		p.c.Forget(p)
	}
	failure := p.outcome(ctx, dir, done, err)
	if failure == nil {
		return nil
	}
	if err := envdir.RemoveFolder(dir); err != nil {
		return envdir.DiskError(err)
	}
	return failure
}

// condaOwn are variables that override the user's rc files about how to install. An environment of links would end
// with the cache, and one for another platform, or only downloaded, would not run.
func condaOwn() []string {
	env := []string{"CONDA_SUBDIR=" + project.CondaSubdir()}
	for _, setting := range []string{"ALWAYS_SOFTLINK", "OFFLINE", "DOWNLOAD_ONLY", "DRY_RUN"} {
		env = append(env, "CONDA_"+setting+"=false", "MAMBA_"+setting+"=false")
	}
	return env
}

// outcome returns nil if the environment was made. The exit status is not enough: an interrupted micromamba ends with
// 0.
func (p condaProgram) outcome(ctx context.Context, dir string, done tool.Result, err error) *builder.Error {
	answer, answered := condaAnswer(done.Stdout)
	switch {
	case ctx.Err() != nil:
		// the caller knows why
		return builder.Errorf(builder.CauseTimeout, "", "%s was ended", p.name).Saying(done.Output)
	case err != nil || answered && !answer.Success:
		return condaFailure(p, done, err)
	case !answered:
		return builder.Errorf(builder.CauseOther, "see the tool's output", "%s ended without saying that it succeeded",
			p.name).Saying(done.Output)
	case !tool.Executable(pythonOf(dir)):
		return builder.Errorf(builder.CauseOther, "see the tool's output; it is tried again by itself",
			"%s says that it succeeded, and there is no python in the environment", p.name).Saying(besides(done.Output))
	}
	return nil
}

// lock writes what is installed at dir to a file that all these tools read, with the tokens of channels, which
// downloads need.
func (p condaProgram) lock(dir, to string) error {
	packages, err := condaPackages(dir)
	records := map[string]condaPackage{}
	for _, r := range packages {
		if !strings.Contains(r.URL, "://") || strings.ContainsAny(r.URL, "\r\n") {
			err = fmt.Errorf("%s does not say where it came from", r.Name)
		}
		records[r.Name] = r
	}
	if err != nil {
		return builder.Errorf(builder.CauseOther, builder.ByItself,
			"%s made an environment that cannot be made again: %s", p.name, err)
	}
	text := "# platform: " + project.CondaSubdir() + "\n@EXPLICIT\n"
	for _, r := range inOrder(records) {
		text += r.URL
		switch { // every version understands a plain MD5
		case r.MD5 != "":
			text += "#" + r.MD5
		case r.SHA256 != "":
			text += "#sha256:" + r.SHA256
		}
		text += "\n"
	}
	return envdir.DiskError(safefile.WriteOwn(to, []byte(text), 0o600))
}

// inOrder puts each package after its dependencies: the tools link an explicit list in its order, and run scripts of
// packages meanwhile. python comes first.
func inOrder(records map[string]condaPackage) []condaPackage {
	var sorted []condaPackage
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		r, ok := records[name]
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, need := range r.Depends {
			need, _, _ = strings.Cut(need, " ")
			if name != "python" || need != "pip" { // the only cycle in channels
				visit(need)
			}
		}
		sorted = append(sorted, r)
	}
	for _, name := range append([]string{"python"}, slices.Sorted(maps.Keys(records))...) {
		visit(name)
	}
	return sorted
}
