package command

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"runtimed/internal/failure"
	"runtimed/internal/pyreq"
	"runtimed/internal/safefile"
	"runtimed/rpc"
)

// Needs are what an environment must have beyond its pool's packages.
type Needs struct {
	With             []string // requirements; commas separate several
	WithRequirements []string // requirements files; -: standard input
	Python           string
}

// AddTo adds the needs to params. Without any, params stay as older daemons understand them.
func (f Needs) AddTo(params *rpc.AcquireParams, stdin io.Reader, env func(string) string) error {
	for _, text := range f.With {
		params.Packages = append(params.Packages, splitRequirements(text)...)
	}
	if len(f.With) > 0 && len(params.Packages) == 0 {
		return failure.With(failure.Usage, "--with names no package")
	}
	switch len(f.WithRequirements) {
	case 0:
	case 1:
		text, err := readNeeds(f.WithRequirements[0], stdin, env)
		if err != nil {
			return err
		}
		params.Requirements = &text
	default:
		return failure.With(failure.Usage, "--with-requirements is given twice").
			WithHint("put both files into one")
	}
	if f.Python == "" {
		return nil
	}
	params.Python = &f.Python
	if !strings.ContainsRune(filepath.ToSlash(f.Python), '/') {
		return nil
	}
	abs, err := filepath.Abs(f.Python) // the daemon is in another folder
	params.Python = &abs
	return err
}

func readNeeds(name string, stdin io.Reader, env func(string) string) (string, error) {
	from := stdin
	if name != "-" {
		f, err := openNeeds(name)
		if err != nil {
			return "", failure.With(failure.Usage, "--with-requirements: %v", err)
		}
		defer f.Close()
		if what, ok := noRequirements[strings.ToLower(filepath.Ext(name))]; ok {
			return "", failure.With(failure.Usage, "--with-requirements: %s is %s, not a requirements file", name,
				what[0]).WithHint("%s", what[1])
		}
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, rpc.MaxNeeds+1))
	switch {
	case err != nil:
		return "", failure.New("--with-requirements: %v", err)
	case len(data) > rpc.MaxNeeds:
		return "", failure.With(failure.Usage, "--with-requirements: %s is longer than %d KiB", name, rpc.MaxNeeds>>10)
	}
	text, err := pyreq.RequirementsText(data, env)
	if err != nil {
		if name == "-" {
			name = "standard input"
		}
		return "", notText("--with-requirements: "+name, err)
	}
	return text, nil
}

// splitRequirements splits at commas as uv does for its --with: not within extras, versions ("a[b,c]>=1,<2") or quotes.
func splitRequirements(text string) (list []string) {
	depth, start, quote := 0, 0, rune(0)
	add := func(end int) {
		if r := strings.TrimSpace(text[start:end]); r != "" {
			list = append(list, r)
		}
		start = end + 1
	}
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'':
			quote = c
		case c == '[', c == '(':
			depth++
		case c == ']', c == ')':
			depth = max(0, depth-1)
		case c == ',' && depth == 0:
			next := strings.TrimSpace(text[i+1:])
			if next == "" || !strings.ContainsRune("!=<>~", rune(next[0])) {
				add(i)
			}
		}
	}
	add(len(text))
	return list
}

// scriptOf finds the script that a command line begins with: a file that ends with .py, or a command whose first line
// has runt run it.
func scriptOf(argv []string) (path string, ok bool) {
	if strings.HasSuffix(argv[0], ".py") {
		if info, err := os.Stat(argv[0]); err == nil && safefile.IsRegular(info) {
			return argv[0], true
		}
	}
	path, err := LookUp(argv[0], os.Getenv("PATH"))
	return path, err == nil && startsRunt(path)
}

// startsRunt reports whether the first line of a file is like "#!/usr/bin/env -S runt run". Executing it would start
// runt again, endlessly.
func startsRunt(path string) bool {
	f, err := safefile.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256) // Linux reads no more of it
	n, _ := io.ReadFull(f, head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	words := strings.Fields(line)
	runt := slices.IndexFunc(words, func(w string) bool { return filepath.Base(strings.Trim(w, `"'`)) == "runt" })
	return ok && runt >= 0 && slices.Contains(words[runt:], "run")
}

// openNeeds opens a file that the caller names. One of the caller's own descriptors may be a pipe, as in a shell's
// <(command).
func openNeeds(name string) (*os.File, error) {
	if clean := filepath.Clean(name); clean == "/dev/stdin" || strings.HasPrefix(clean, "/dev/fd/") ||
		strings.HasPrefix(clean, "/proc/self/fd/") {
		return os.Open(name)
	}
	return safefile.Open(name)
}

const maxScript = 64 << 20 // bytes

func askScript(path string, params *rpc.AcquireParams) error {
	data, err := safefile.Read(path, maxScript)
	if err != nil {
		return failure.With(failure.NotExecutable, "%v", err)
	}
	return askMetadata(path, data, params)
}

func askMetadata(name string, data []byte, params *rpc.AcquireParams) error {
	block, err := pyreq.ScriptMetadata(data, rpc.MaxNeeds)
	if err != nil {
		return notText(name, err)
	}
	if block != "" {
		params.Script = &block
	}
	return nil
}

func notText(name string, err error) *failure.Error {
	f := failure.With(failure.Usage, "%s: %v", name, err)
	var bad *pyreq.TextError
	if errors.As(err, &bad) {
		f.Hint = bad.Hint
	}
	return f
}

// noRequirements are the endings of files that people take for requirements files.
var noRequirements = map[string][2]string{
	".py":    {"a Python script", "run it with runt run SCRIPT, which adds what its metadata asks for"},
	".ipynb": {"a notebook", "name the packages that it needs with --with"},
	".toml":  {"a TOML file", "write its dependencies into a requirements file: uv export, or uv pip compile"},
	".yml":   {"a YAML file", "write its packages into a requirements file, or name them with --with"},
	".yaml":  {"a YAML file", "write its packages into a requirements file, or name them with --with"},
	".json":  {"a JSON file", "write its packages into a requirements file, or name them with --with"},
	".lock":  {"a lock file", "write it as a requirements file: uv export --no-emit-project"},
	".whl":   {"a package", "install it into the environment once you have it"},
}

// ProjectPath is where a project is looked for: dir, else the folder of the notebook that a front-end names, else the
// present one.
func ProjectPath(dir string, env func(string) string) (string, error) {
	if dir == "" {
		// jupyter_server: the notebook's path; some versions tell the one below the server's root
		if folder, err := filepath.Abs(filepath.Dir(env("JPY_SESSION_NAME"))); err == nil && safefile.Exists(folder) {
			return folder, nil
		}
	}
	return filepath.Abs(dir)
}
