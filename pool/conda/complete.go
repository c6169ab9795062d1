package conda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// complete adds what does not come from channels to the environment at dir, which has its conda packages. The error is
// a *builder.Error.
func (c *Builder) complete(ctx context.Context, dir string, w wanted, job condaJob) error {
	if p := w.project; p != nil {
		if err := writeState(dir, p.Variables); err != nil {
			return envdir.DiskError(err)
		}
		if w.locked() {
			if err := c.installLocked(ctx, dir, p, job.answered.PyPI, job.progress); err != nil {
				return err
			}
		} else if len(p.Pip) > 0 {
			add := uv.Addition{Lines: p.Pip, Dir: p.Path, Digest: p.Digest,
				What: "the packages of PyPI in " + filepath.Base(p.File)}
			if err := c.add(ctx, dir, add, job.progress); err != nil {
				return err
			}
		}
	}
	if len(w.pypi) > 0 {
		add := uv.Addition{Lines: w.pypi, Keep: w.project != nil, What: strings.Join(redact.Texts(w.pypi), ", ")}
		if err := c.add(ctx, dir, add, job.progress); err != nil {
			return err
		}
	}
	if w.project == nil {
		return nil
	}
	if err := c.addKernel(ctx, dir, w, job); err != nil {
		return err
	}
	_, err := uv.Again(w.project) // uv may have read it while it was changed
	return err
}

// add has uv add to the environment at dir.
func (c *Builder) add(ctx context.Context, dir string, a uv.Addition, progress func(builder.Stage)) error {
	there, err := uv.Distributions(dir)
	if err != nil {
		return envdir.DiskError(err)
	}
	for _, d := range there {
		a.Have = append(a.Have, d.Package)
	}
	slices.SortFunc(a.Have, func(a, b builder.Package) int { return strings.Compare(a.Name, b.Name) })
	a.Env, a.Python = dir, pythonOf(dir)
	if a.Minor, err = pythonMinor(dir); err != nil {
		return uv.NotListed(err)
	}
	return c.uv.Add(ctx, a, progress)
}

// addKernel adds the kernel if the environment of a project has none. No version changes.
func (c *Builder) addKernel(ctx context.Context, dir string, w wanted, job condaJob) error {
	there, err := uv.Distributions(dir)
	if err != nil {
		return envdir.DiskError(err)
	}
	if slices.ContainsFunc(there, func(d uv.Distribution) bool { return d.Name == kernelPackage }) ||
		recordOf(dir, kernelPackage) != "" {
		return nil
	}
	err = c.add(ctx, dir, uv.Addition{Keep: true, Lines: []string{uv.KernelAdded}, What: kernelPackage}, job.progress)
	var b *builder.Error
	if !errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	said, file := *b, filepath.Base(w.project.File)
	said.Message = fmt.Sprintf("%s has no %s: %s", file, kernelPackage, b.Message)
	if b.Cause == builder.CauseUnsatisfiable || b.Cause == builder.CausePackageNotFound {
		said.Hint = "add " + kernelPackage + " to the project itself, in " + file
	}
	if why := job.answered.NoKernel; why != "" {
		said.Output = "the channels: " + redact.Text(why) + "\nuv: " + b.Output
	}
	return &said
}

// writeState records the variables of a project as conda does, before the activation is computed.
func writeState(dir string, variables map[string]string) error {
	if len(variables) == 0 {
		return nil
	}
	data, err := json.Marshal(map[string]any{"version": 1, "env_vars": variables})
	if err != nil {
		return err
	}
	return safefile.WriteOwn(filepath.Join(dir, "conda-meta", "state"), data, 0o600)
}

// recordOf is the base name of the record of a conda package, or empty.
func recordOf(dir, name string) string {
	found, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "conda-meta", name+"-[0-9]*.json"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Base(found[0])
}

var pythonRecord = regexp.MustCompile(`^python-(\d+\.\d+)\b`)

// pythonMinor is the version of the environment's Python, without its last part.
func pythonMinor(dir string) (string, error) {
	m := pythonRecord.FindStringSubmatch(recordOf(dir, "python"))
	if m == nil {
		return "", errors.New("conda-meta has no python")
	}
	return m[1], nil
}
