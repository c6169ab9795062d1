package conda

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/internal/project"
	"runtimed/internal/pyreq"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

const kernelPackage = "ipykernel"

// wanted is what an environment is to have.
type wanted struct {
	specs    []string         // match specs, which are solved together
	extra    []string         // match specs that are added without changing what the others lead to
	channels []string         // by priority
	pypi     []string         // requirements that uv adds
	project  *project.Project // as it is now; or nil
}

// wants reads a spec and, if it is for a project, what that says now. The error is a *builder.Error.
func wants(spec builder.Spec) (w wanted, err error) {
	var needs []string
	for _, p := range spec.Packages {
		if requirement, ofPyPI := strings.CutPrefix(p, pyreq.CondaPyPI); ofPyPI {
			w.pypi = append(w.pypi, requirement)
		} else {
			needs = append(needs, p)
		}
	}
	w.channels = spec.Channels
	if spec.Project == nil {
		w.specs = append([]string{pythonSpec(spec.Python)}, needs...)
		if spec.Base != nil && spec.Base.Locked != nil { // what comes on top changes none of these
			for _, e := range spec.Base.Locked.Entries {
				w.specs = append(w.specs, e.Name+" =="+e.Version)
			}
		}
		return w, nil
	}
	if w.project, err = uv.Again(spec.Project); err != nil {
		return w, err
	}
	if w.locked() {
		w.channels = w.project.Channels // if it names none, the lock file does
	} else {
		w.specs = slices.Clone(w.project.Specs)
		// who has packages of PyPI gets pip, as from conda and micromamba
		if w.project.Kind == project.Environment && len(w.project.Pip) > 0 && !slices.ContainsFunc(w.specs,
			func(s string) bool { return specName(s) == "pip" }) {
			w.specs = append(w.specs, "pip")
		}
		if len(w.project.Channels) > 0 {
			w.channels = w.project.Channels
		}
	}
	w.channels = slices.Clone(w.channels)
	for i, c := range w.channels {
		if strings.HasPrefix(c, ".") {
			w.channels[i] = filepath.Join(w.project.Path, filepath.FromSlash(c))
		}
	}
	w.extra = append([]string{pythonSpec(spec.Python)}, needs...)
	return w, nil
}

// locked reports whether a pixi.lock says what is installed.
func (w wanted) locked() bool { return w.project != nil && w.project.Kind == project.PixiLock }

// job is what the provider is told.
func (w wanted) job(provider condaProvider) condaJob {
	_, keeps := provider.(*rattler)
	job := condaJob{specs: w.specs, extra: w.extra, channels: w.channels, answered: &condaAnswered{}}
	switch {
	case w.project == nil || w.locked():
	case !keeps: // it solves only once
		job.kernel = true
	default: // packages of PyPI may bring the kernel, and what it needs in other versions
		job.kernel = len(w.project.Pip) == 0
	}
	return job
}

// pythonSpec is the match spec for a Python: a version, specifiers, or any.
func pythonSpec(want string) string {
	if want == "" || builder.Specifiers(want) {
		return "python" + want
	}
	return "python=" + want
}

// specName is the package that a match spec names.
func specName(spec string) string {
	if _, name, ok := strings.Cut(spec, "::"); ok {
		spec = name
	}
	if at := strings.IndexAny(spec, " \t=<>!~[|,("); at >= 0 {
		spec = spec[:at]
	}
	return strings.ToLower(spec)
}

// withDefaults puts the channels that conda calls defaults (its documentation of default_channels) in the place of that
// name, which rattler does not know.
func withDefaults(channels []string) (list []string) {
	for _, c := range channels {
		if c != "defaults" {
			list = append(list, c)
			continue
		}
		list = append(list, "main", "r")
		if runtime.GOOS == "windows" {
			list = append(list, "msys2")
		}
	}
	return list
}

// explain is the failure of a build as it concerns a project: there, the pool is not at fault.
func (w wanted) explain(err error) error {
	var b *builder.Error
	if w.project == nil || !errors.As(err, &b) {
		return err
	}
	said, file := *b, filepath.Base(w.project.File)
	words := strings.NewReplacer("the pool's packages", file, "the pool's channels", "the channels in "+file)
	said.Message, said.Hint = words.Replace(b.Message), words.Replace(b.Hint)
	if b.Cause == builder.CauseAuth {
		said.Hint += "; tools see the variables that the daemon was started with, and not yours"
	}
	return &said
}
