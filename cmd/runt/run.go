package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"runtimed/rpc"
)

type runCmd struct {
	takeFlags `embed:""`
	Command   []string `arg:"" passthrough:"" placeholder:"CMD" help:"The command and its arguments."`
}

func (runCmd) Help() string {
	return "runt becomes the command: the environment is its own, and ends with it."
}

func (c *runCmd) Run(a *app) error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return &failure{code: exitUsage, message: "no command to run", hint: "see: runt run --help"}
	}
	params, wait := c.params()
	if label := filepath.Base(argv[0]); len(label) <= rpc.MaxLabel && label == printable(label) {
		params.Label = &label
	}
	client, raw, err := a.take(c.takeFlags, params, wait)
	if err != nil {
		return err
	}
	defer client.Close()
	var r rpc.AcquireResult
	if err := json.Unmarshal(raw, &r); err != nil {
		return failed("the daemon's answer has another shape than this runt expects")
	}
	environ := activated(os.Environ(), r.Env)
	program, err := lookUp(argv[0], value(environ, "PATH"))
	if err == nil {
		if a.ctx.Err() != nil {
			err = a.ctx.Err()
		} else {
			err = become(program, argv, environ)
		}
	}
	// Only a failure comes back. The lease is ours and would end with us; this way it ends at once.
	a.call(client, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID}, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return failure{code: exitNotFound}.says("%s: command not found", argv[0])
	}
	return failure{code: exitNotExecutable}.says("%s: %v", argv[0], err)
}

// become replaces runt by the command. Signals that came in between have the command's own meaning.
func become(program string, argv, environ []string) error {
	return syscall.Exec(program, argv, environ)
}

// activated merges what activation means into an environment.
func activated(environ []string, env rpc.Env) []string {
	out := make([]string, 0, len(environ)+len(env.Variables)+1)
	path, hasPath := "", false
	for _, pair := range environ {
		name, v, _ := strings.Cut(pair, "=")
		if name == "PATH" {
			path, hasPath = v, true
			continue
		}
		if _, changed := env.Variables[name]; !changed {
			out = append(out, pair)
		}
	}
	for name, v := range env.Variables {
		if name == "PATH" && v != nil {
			path, hasPath = *v, true
		} else if v != nil {
			out = append(out, name+"="+*v)
		}
	}
	dirs := env.PathPrepend
	if hasPath {
		dirs = append(dirs[:len(dirs):len(dirs)], path)
	}
	return append(out, "PATH="+strings.Join(dirs, string(os.PathListSeparator)))
}

func value(environ []string, name string) string {
	for _, pair := range environ {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			return v
		}
	}
	return ""
}

// lookUp finds a command as a shell does. It tells "not there" from "there, but not to be run".
func lookUp(name, path string) (string, error) {
	if name == "" {
		return "", fs.ErrNotExist
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return name, executable(name)
	}
	refused := error(fs.ErrNotExist)
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if dir == "" || dir == "." {
			candidate = "." + string(filepath.Separator) + name
		}
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			refused = err
		}
	}
	return "", refused
}

func executable(path string) error {
	info, err := os.Stat(path)
	var pe *fs.PathError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}
