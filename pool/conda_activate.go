package pool

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
)

// condaUnset takes a variable out (conda's CONDA_ENV_VARS_UNSET_VAR).
const condaUnset = "***unset***"

// activationTime is what all the scripts of an environment may take; most take milliseconds.
const activationTime = time.Minute

// activation computes once what activating the environment sets: what packages and the user's own records name (conda's
// documentation: env_vars.d, then conda-meta/state, then the scripts of activate.d in the order of their names).
func (c *Conda) activation(ctx context.Context, dir string) (activation, error) {
	act := activation{
		variables: map[string]*string{
			"CONDA_PREFIX": &dir, "CONDA_DEFAULT_ENV": &dir, "CONDA_SHLVL": new("1"), "CONDA_PROMPT_MODIFIER": nil,
			"VIRTUAL_ENV": nil, "PYTHONHOME": nil, noUserSite: new("1"),
		},
		pathPrepend: condaBins(dir),
	}
	if err := applyRecords(act, dir); err != nil {
		return act, activationError(err, "")
	}
	scripts, err := filepath.Glob(filepath.Join(globEscape(dir), "etc", "conda", "activate.d", activationScripts))
	if err != nil || len(scripts) == 0 {
		return act, err
	}
	cwd, err := c.uv.workdir()
	if err != nil {
		return act, err
	}
	before := act.environ(childEnv(c.environ))
	argv, err := c.runScripts(dir)
	if err != nil {
		return act, diskError(err)
	}
	short, cancel := context.WithTimeout(ctx, activationTime)
	defer cancel()
	done, err := run(short, child{argv: argv, dir: cwd, env: before, mark: dir})
	if ctx.Err() != nil {
		return act, ctx.Err()
	}
	if short.Err() != nil {
		err = fmt.Errorf("a script was not done after %s", activationTime)
	}
	if err != nil {
		return act, activationError(err, done.output)
	}
	if !bytes.Contains(done.stdout, []byte(activationEnd)) {
		return act, activationError(errors.New("a script ended the shell that it ran in"), done.output)
	}
	applyChanges(&act, before, done.stdout)
	return act, nil
}

func activationError(err error, output string) *BuildError {
	return &BuildError{
		Cause: CauseVerifyFailed, Message: fmt.Sprintf("the environment was built, but cannot be activated: %s", err), Output: output,
		Hint: "one of the pool's packages brings a script or a record for this that does not work",
	}
}

// applyRecords takes in the variables that are written down: those of packages, then those that `conda env config vars set` keeps.
func applyRecords(a activation, dir string) error {
	files, err := filepath.Glob(filepath.Join(globEscape(dir), "etc", "conda", "env_vars.d", "*.json"))
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
	if path := filepath.Join(dir, "conda-meta", "state"); exists(path) {
		if err := readJSON(path, &state); err != nil {
			return err
		}
	}
	setVariables(a, state.Vars)
	return nil
}

func readJSON(path string, to any) error {
	data, err := readInside(path)
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

func setVariables(a activation, vars map[string]string) {
	for name, value := range vars {
		if value == condaUnset {
			a.variables[name] = nil
		} else {
			a.variables[name] = &value
		}
	}
}

// applyChanges takes in what the scripts made of the environment that they ran in: after is what they printed of it at the end.
func applyChanges(a *activation, before []string, after []byte) {
	left := map[string]string{}
	for _, v := range before {
		name, value, _ := strings.Cut(v, "=")
		left[foldName(name)] = value
	}
	for v := range bytes.SplitSeq(after, []byte(activationEnd)) {
		name, value, ok := strings.Cut(string(v), "=")
		was, had := left[foldName(name)]
		delete(left, foldName(name))
		switch {
		case !ok || slices.Contains(shellOwn, foldName(name)), strings.HasPrefix(name, "BASH_FUNC_"), had && was == value:
		case foldName(name) == "PATH":
			a.pathPrepend = prepended(value)
		default:
			a.variables[name] = &value
		}
	}
	for name := range left {
		if name != "PATH" {
			a.variables[name] = nil // a script took it out
		}
	}
}

// prepended are the folders of a PATH that are not of the one behind it.
func prepended(path string) []string {
	behind := filepath.SplitList(activationPath)
	return slices.DeleteFunc(filepath.SplitList(path), func(d string) bool { return d == "" || slices.Contains(behind, d) })
}
