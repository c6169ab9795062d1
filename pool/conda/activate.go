package conda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// condaUnset removes a variable (conda's CONDA_ENV_VARS_UNSET_VAR).
const condaUnset = "***unset***"

// activationTime bounds all the scripts of an environment; most take milliseconds.
const activationTime = time.Minute

// activation computes once what activating the environment sets: the records of packages and of the user, then the
// scripts (conda's documentation: env_vars.d, conda-meta/state, activate.d in the order of names).
func (c *Builder) activation(ctx context.Context, dir string) (builder.Activation, error) {
	act := builder.Activation{
		Variables: map[string]*string{
			"CONDA_PREFIX": &dir, "CONDA_DEFAULT_ENV": &dir, "CONDA_SHLVL": new("1"), "CONDA_PROMPT_MODIFIER": nil,
			"VIRTUAL_ENV": nil, "PYTHONHOME": nil, builder.NoUserSite: new("1"),
		},
		PathPrepend: condaBins(dir),
	}
	if err := applyRecords(act, dir); err != nil {
		return act, activationError(err, "")
	}
	scripts, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "etc", "conda", "activate.d", activationScripts))
	if err != nil || len(scripts) == 0 {
		return act, err
	}
	before := act.Environ(tool.Environ(c.environ))
	argv, err := c.runScripts(dir)
	if err != nil {
		return act, envdir.DiskError(err)
	}
	short, cancel := context.WithTimeout(ctx, activationTime)
	defer cancel()
	done, err := c.uv.Child(short, tool.Command{Argv: argv, Env: before, Mark: dir})
	if ctx.Err() != nil {
		return act, ctx.Err()
	}
	if short.Err() != nil {
		err = fmt.Errorf("a script was not done after %s", activationTime)
	}
	if err != nil {
		return act, activationError(err, done.Output)
	}
	if !bytes.Contains(done.Stdout, []byte(activationEnd)) {
		return act, activationError(errors.New("a script ended the shell that it ran in"), done.Output)
	}
	applyChanges(&act, before, done.Stdout)
	return act, nil
}

func activationError(err error, output string) error {
	if builder.CauseOf(err) != "" {
		return err
	}
	return builder.Errorf(builder.CauseVerifyFailed,
		"one of the pool's packages brings a script or a record for this that does not work",
		"the environment was built, but cannot be activated: %s", err).Saying(output)
}

// applyRecords applies the recorded variables: those of packages, then those of `conda env config vars set`.
func applyRecords(a builder.Activation, dir string) error {
	files, err := filepath.Glob(filepath.Join(tool.GlobEscape(dir), "etc", "conda", "env_vars.d", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		var vars map[string]string
		if err := readJSON(path, &vars); err != nil {
			return err
		}
		setVariables(a, vars)
	}
	var state struct {
		Vars map[string]string `json:"env_vars"`
	}
	if path := filepath.Join(dir, "conda-meta", "state"); envdir.Exists(path) {
		if err := readJSON(path, &state); err != nil {
			return err
		}
	}
	setVariables(a, state.Vars)
	return nil
}

func readJSON(path string, to any) error {
	data, err := envdir.ReadInside(path)
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

func setVariables(a builder.Activation, vars map[string]string) {
	for name, value := range vars {
		if value == condaUnset {
			a.Variables[name] = nil
		} else {
			a.Variables[name] = &value
		}
	}
}

// applyChanges applies what the scripts made of the environment they ran in, which they printed at the end.
func applyChanges(a *builder.Activation, before []string, after []byte) {
	left := map[string]string{}
	for _, v := range before {
		name, value, _ := strings.Cut(v, "=")
		left[tool.FoldName(name)] = value
	}
	for v := range bytes.SplitSeq(after, []byte(activationEnd)) {
		name, value, ok := strings.Cut(string(v), "=")
		was, had := left[tool.FoldName(name)]
		delete(left, tool.FoldName(name))
		switch {
		case !ok, slices.Contains(shellOwn, tool.FoldName(name)), strings.HasPrefix(name, "BASH_FUNC_"),
			had && was == value:
		case tool.FoldName(name) == "PATH":
			a.PathPrepend = prepended(value)
		default:
			a.Variables[name] = &value
		}
	}
	for name := range left {
		if name != "PATH" {
			a.Variables[name] = nil // a script removed it
		}
	}
}

// prepended returns the folders that a PATH has before ActivationPath.
func prepended(path string) []string {
	behind := filepath.SplitList(builder.ActivationPath)
	return slices.DeleteFunc(filepath.SplitList(path), func(d string) bool {
		return d == "" || slices.Contains(behind, d)
	})
}
