package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/conda"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// inspector finds out what builds would use. Its tools run in a temporary folder, so that the state directory may be
// broken.
type inspector struct {
	uv    *uv.Builder
	conda *conda.Builder
	dir   string
	tmp   string
}

// newInspector looks for a daemon with these settings. Close it.
func newInspector(dir string, uvConfig uv.Config, condaConfig conda.Config, environ []string) (*inspector, error) {
	tmp, err := os.MkdirTemp("", "runtimed-doctor-")
	if err != nil {
		return nil, err
	}
	// The usual cache would be created. An empty one only makes uv slower.
	environ = append(slices.Clone(environ), "UV_CACHE_DIR="+filepath.Join(tmp, "cache"), "UV_HTTP_RETRIES=0")
	if statedir.CheckHome(tool.Lookup(environ, tool.HomeVariable)) != nil {
		environ = append(environ, tool.HomeVariable+"="+tmp) // or tools would leave root's files at home
	}
	i := &inspector{dir: dir, tmp: tmp, uv: uv.New(tmp, uvConfig, environ, zap.NewNop())}
	i.conda = conda.New(tmp, condaConfig, i.uv, environ, zap.NewNop())
	return i, nil
}

// close removes the temporary folder.
func (i *inspector) close() error { return envdir.RemoveFolder(i.tmp) }

// foundUV is the uv that builds would run.
type foundUV struct {
	builder.Tool
	FetchWith string // uv is missing, and the next build fetches it with this Python
	Fetcher   string // version of that Python
}

// findUV finds uv as builds do. The error is a *builder.Error if it can be neither found nor fetched.
func (i *inspector) findUV(ctx context.Context) (foundUV, error) {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	missing := false
	// only fetching is left
	found, err := i.uv.Locate(looking, "", i.uv.Config(), func(builder.Stage) {
		missing = true
		stop()
	})
	if !missing {
		return foundUV{Tool: found}, err
	}
	fetched := uv.ProgramBelow(filepath.Join(i.dir, "tools", "uv-"+uv.Version()))
	if tool.Executable(fetched) {
		return foundUV{Tool: builder.Tool{Name: "uv", Path: fetched, Version: uv.Version(),
			Why: "none was found, so it was fetched"}}, nil
	}
	var last *builder.Error
	var tried []string
	for _, python := range uv.MachinePythons(append(filepath.SplitList(tool.Lookup(i.uv.Environ, "PATH")),
		i.uv.Elsewhere...)) {
		const hasPip = "import importlib.util as u, platform, sys; print(platform.python_version()); " +
			"sys.exit(not (u.find_spec('venv') and u.find_spec('ensurepip') or u.find_spec('pip')))"
		done, err := i.uv.Python(ctx, "", i.uv.Config(), python, "-I", "-c", hasPip)
		if err == nil {
			return foundUV{Tool: builder.Tool{Name: "uv", Version: uv.Version()}, FetchWith: python,
				Fetcher: strings.TrimSpace(string(done.Stdout))}, nil
		}
		tried = append(tried, python)
		last = &builder.Error{Cause: builder.CauseToolMissing, Message: python + " has no pip"}
	}
	return foundUV{}, uv.NotFetched(tried, last)
}

// fetchProbe runs the pip that would fetch uv: the Python's, or the one that a venv would get.
const fetchProbe = `
import importlib.util, runpy, sys
if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv") or not importlib.util.find_spec("pip"):
    import ensurepip, os
    dirs = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), getattr(ensurepip, "_WHEEL_PKG_DIR", None)]
    found = [os.path.join(d, f) for d in dirs if d and os.path.isdir(d) for f in os.listdir(d) if f.startswith("pip-")]
    for wheel in found:
        sys.path.insert(0, wheel)
sys.argv = ["pip"] + sys.argv[1:]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`

// errNotAsked is returned if pip is too old for the question.
var errNotAsked = errors.New("it is too old to be asked")

// askPipIndex has pip look for uv as a build would. It returns nil, errNotAsked, a *builder.Error, or ctx's error.
func (i *inspector) askPipIndex(ctx context.Context, python string) error {
	done, err := i.uv.Python(ctx, "", i.uv.Config(), python, "-c", fetchProbe, "index", "versions", "uv", "--pre",
		"--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--retries", "0", "--timeout", "2",
		"--no-cache-dir")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && strings.Contains(done.Output, "unknown command"):
		return errNotAsked
	case err != nil:
		return i.uv.PipError(python, done.Output, err)
	}
	_, versions, _ := strings.Cut(string(done.Stdout), "Available versions:")
	versions, _, _ = strings.Cut(versions, "\n")
	if !slices.Contains(strings.Split(strings.ReplaceAll(versions, " ", ""), ","), uv.Version()) {
		return &builder.Error{
			Cause:   builder.CausePackageNotFound,
			Message: "the package index has no uv " + uv.Version() + " for this machine",
			Hint:    "install uv (https://docs.astral.sh/uv), or name an index that has it as uv.index_url",
			Output:  done.Output,
		}
	}
	return nil
}

// foundPython is the Python of a pool.
type foundPython struct {
	Want, Version, Path string
	Fetch               bool // uv fetches it with the next build
	Err                 *builder.Error
}

// findPythons finds the Python for each want; tool is uv.
func (i *inspector) findPythons(ctx context.Context, tool string, wants []string) ([]foundPython, error) {
	found := make([]foundPython, 0, len(wants))
	for _, want := range wants {
		f := foundPython{Want: want}
		var list []uv.Interpreter
		best, chosen := i.uv.Chosen(ctx, "", i.dir, want)
		ok := chosen
		var err error
		if !chosen && !filepath.IsAbs(want) {
			if list, err = i.uv.Installed(ctx, tool, "", want); err != nil {
				return nil, err
			}
			best, ok = uv.Choose(list, want)
		}
		switch {
		case filepath.IsAbs(want):
			best, err = i.uv.Ask(ctx, "", want)
		case tooOld(want):
			err = &builder.Error{
				Cause:   builder.CausePythonMissing,
				Message: "needs Python >= " + uv.MinPython + ", and " + want + " was asked for",
				Hint:    "name a newer one as python of the pool in the configuration",
			}
		case !ok && want == "": // every uv can fetch that
			f.Fetch, best.Version = true, uv.DefaultPython
		case chosen:
		case ok:
			// it may be a version manager's script
			if itself, err := i.uv.Ask(ctx, "", best.Path); err == nil {
				best = itself
			}
		default:
			if f.Fetch = i.offered(ctx, tool, want); !f.Fetch {
				err = uv.NoPython(want, list, nil)
			}
			best.Version = want
		}
		f.Path, f.Version = best.Path, best.Version
		errors.As(err, &f.Err)
		found = append(found, f)
	}
	return found, nil
}

func tooOld(want string) bool {
	_, ok := uv.Numbers(want)
	return ok && strings.Contains(want, ".") && uv.CompareVersions(want, uv.MinPython) < 0
}

// offered reports whether uv can fetch such a Python.
func (i *inspector) offered(ctx context.Context, tool, want string) bool {
	done, err := i.uv.Run(ctx, tool, "", "python", "list", want, "--output-format", "json")
	var list []uv.Interpreter
	return err == nil && json.Unmarshal(done.Stdout, &list) == nil && len(list) > 0
}

type foundConda struct {
	builder.Tool
	missing bool // rattler, which the next build fetches
}

func (i *inspector) findConda(ctx context.Context) (foundConda, error) {
	_, found, err := i.conda.Locate(ctx, "", i.conda.Config())
	if err != nil {
		return foundConda{}, err
	}
	if found.Name != conda.ProviderRattler {
		return foundConda{found, false}, nil
	}
	found.Path = i.rattlerPython() // the builder looks below the temporary folder
	return foundConda{found, !tool.Executable(found.Path)}, nil
}

func (i *inspector) rattlerPython() string {
	return builder.VenvPython(filepath.Join(i.dir, "tools", conda.VenvPrefix+conda.RattlerVersion()))
}

// channelURL is where rattler looks for a named channel; false if rattler is missing.
func (i *inspector) channelURL(ctx context.Context, name string) (string, bool) {
	python := i.rattlerPython()
	if !tool.Executable(python) {
		return "", false
	}
	const ask = "import sys, rattler; print(rattler.Channel(sys.argv[1]).base_url)"
	done, err := i.uv.Child(ctx, tool.Command{Argv: []string{python, "-I", "-c", ask, name}, Env: i.conda.ChildEnv()})
	url := strings.TrimSpace(string(done.Stdout))
	return url, err == nil && strings.Contains(url, "://")
}

// askIndex has uv look for a package in its index, past all caches.
func (i *inspector) askIndex(ctx context.Context, program, name string) error {
	in, out := filepath.Join(i.tmp, "ask.txt"), filepath.Join(i.tmp, "answer.txt")
	if err := os.WriteFile(in, []byte(name+"\n"), 0o600); err != nil {
		return envdir.DiskError(err)
	}
	_, err := i.uv.Run(ctx, program, "", "pip", "compile", "--no-cache", "--no-deps", "--no-build", "--quiet", in,
		"--output-file", out)
	return err
}
