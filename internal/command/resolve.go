// Package command finds out what a command line runs and needs, and becomes it in an environment.
package command

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/term"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/rpc"
)

// Plan is what to run.
type Plan struct {
	Argv   []string // without the Python, if that runs it
	Python bool     // the environment's Python runs it
	Stdin  *os.File // to read instead of ours; may be nil
}

// Resolve tells scripts, modules and standard input from commands. It adds to params what a script asks for.
func Resolve(argv []string, params *rpc.AcquireParams, stdin io.Reader) (Plan, error) {
	if err := refuseCommand(argv[0]); err != nil {
		return Plan{}, err
	}
	switch {
	case argv[0] == "-m" && len(argv) == 1:
		return Plan{}, failure.With(failure.Usage, "-m names no module").
			WithHint("as in: runt run -m http.server")
	case argv[0] == "-m":
		return Plan{Argv: argv, Python: true}, nil
	case argv[0] == "-":
		script, err := scriptFromStdin(params, stdin)
		return Plan{Argv: argv, Python: true, Stdin: script}, err
	}
	script, isScript := scriptOf(argv)
	if !isScript {
		return Plan{Argv: argv}, nil
	}
	if err := askScript(script, params); err != nil {
		return Plan{}, err
	}
	if strings.HasPrefix(script, "-") {
		script = "." + string(filepath.Separator) + script // it must not be an option of Python's
	}
	return Plan{Argv: append([]string{script}, argv[1:]...), Python: true}, nil
}

var someURL = regexp.MustCompile(`^(?i:https?|ftp|git\+\w+|file)://`)

// refuseCommand refuses what cannot be a command before an environment is taken for it.
func refuseCommand(name string) error {
	info, err := os.Stat(name)
	folder := err == nil && info.IsDir()
	path := strings.ContainsRune(filepath.ToSlash(name), '/')
	switch {
	case someURL.MatchString(name):
		return failure.With(failure.NotExecutable, "%s is a URL, and scripts are not fetched", redact.Line(name)).
			WithHint("download it and look at it, then: runt run FILE")
	case strings.HasPrefix(name, "-") && name != "-" && name != "-m" && !strings.HasSuffix(name, ".py"):
		return failure.With(failure.NotFound, "%s: command not found", name).
			WithHint("for an option of Python: runt run -- python %s …; those of runt run come before the command",
				name)
	case strings.HasSuffix(name, ".ipynb") && err != nil:
		return failure.With(failure.NotFound, "%s: there is no such notebook", name)
	case strings.HasSuffix(name, ".ipynb"):
		return failure.With(failure.NotExecutable, "%s is a notebook, not a command", name).
			WithHint("open it with a kernel of runt kernelspec install; or run its cells: runt run --with nbclient "+
				"-- jupyter execute %s", name)
	case strings.HasSuffix(name, ".py") && path && errors.Is(err, fs.ErrNotExist):
		return failure.With(failure.NotFound, "%s: there is no such script", name)
	case folder && (path || name == "." || name == ".."):
		return failure.With(failure.NotExecutable, "%s is a folder, not a command", name).WithHint(runMain, name)
	}
	return nil
}

const runMain = "to run the __main__.py in it: runt run -- python %s"

// CannotRun explains why a command could not be run.
func CannotRun(name string, err error) *failure.Error {
	if !errors.Is(err, fs.ErrNotExist) {
		return failure.With(failure.NotExecutable, "%s: %v", name, err)
	}
	info, err := os.Stat(name)
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case err == nil && info.IsDir() && ext == ".py":
		return failure.With(failure.NotExecutable, "%s is a folder, not a script", name).WithHint(runMain, name)
	case err == nil && safefile.IsRegular(info) && slices.Contains([]string{".py", ".pyw", ".pyc", ".pyz"}, ext):
		return failure.With(failure.NotFound, "%s: command not found", name).
			WithHint("to run it as a script: runt run -- python %s", name)
	case err == nil && ext == ".py":
		return failure.With(failure.NotExecutable, "%s cannot be read as a script", name)
	case ext == ".py":
		return failure.With(failure.NotFound, "%s: there is no such script, not a command of that name", name)
	}
	return failure.With(failure.NotFound, "%s: command not found", name)
}

// scriptFromStdin reads a script from standard input, for what it asks for, and returns it to be read again. A person
// at a terminal talks to Python: then there is none.
func scriptFromStdin(params *rpc.AcquireParams, stdin io.Reader) (*os.File, error) {
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxScript+1))
	switch {
	case err != nil:
		return nil, failure.New("reading the script: %v", err)
	case len(data) > maxScript:
		return nil, failure.With(failure.Usage, "the script on standard input is longer than %d MiB", maxScript>>20)
	}
	if err := askMetadata("standard input", data, params); err != nil {
		return nil, err
	}
	f, err := safefile.Scratch("runt-stdin-")
	if err != nil {
		return nil, failure.New("keeping the script: %v", err).
			WithHint("the folder for temporary files (%s) must be writable", os.TempDir())
	}
	if _, err = f.Write(data); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	why := failure.New("keeping the script: %v", err)
	if safefile.IsFull(err) {
		return nil, why.WithHint("free some space where temporary files are: %s", os.TempDir())
	}
	return nil, why
}
