package conda

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

// condaTools is the order in which auto takes them: the fastest first.
var condaTools = []string{ProviderMicromamba, ProviderMamba, ProviderConda}

// provider returns what makes environments: the one in use, else the configured one, else the first tool that works.
// Parallel callers look once.
func (c *Builder) provider(ctx context.Context, mark string) (condaProvider, error) {
	return c.Find(ctx, condaProvider.Usable, func(cfg Config) (condaProvider, builder.Tool, error) {
		c.tidied.Do(c.Tidy)
		found, tool, err := c.Locate(ctx, mark, cfg)
		if err == nil {
			c.log.Info("conda environments are built with "+tool.Name,
				zap.String("path", tool.Path), zap.String("version", tool.Version), zap.String("why", tool.Why))
		}
		return found, tool, err
	})
}

func (c *Builder) Locate(ctx context.Context, mark string, cfg Config) (condaProvider, builder.Tool, error) {
	wanted := []string{cfg.Provider}
	switch {
	case cfg.Provider == ProviderRattler:
		return c.rattler("conda.provider in the configuration names it")
	case cfg.Path != "":
		return c.configured(ctx, mark, cfg)
	case cfg.Provider == "", cfg.Provider == ProviderAuto:
		wanted = condaTools
	}
	var useless []string
	for _, name := range wanted {
		for _, found := range c.places(name) {
			program, version, err := c.examine(ctx, mark, found.Path, name)
			if ctx.Err() != nil {
				return nil, builder.Tool{}, ctx.Err()
			}
			if err == nil {
				found.Version = version
				return program, found, nil
			}
			useless = append(useless, fmt.Sprintf("%s: %s", found.Path, err))
			c.log.Info("a program named "+name+" cannot be used; looking further", zap.String("path", found.Path),
				zap.Error(err))
		}
	}
	if len(wanted) > 1 {
		return c.rattler("no micromamba, mamba or conda that works was found")
	}
	return nil, builder.Tool{}, notFound(wanted[0], useless)
}

// rattler is the provider that is always there.
func (c *Builder) rattler(why string) (condaProvider, builder.Tool, error) {
	r := c.own
	return r, builder.Tool{Name: ProviderRattler, Version: RattlerVersion(), Path: builder.VenvPython(r.venv()),
		Why: why}, nil
}

// configured is the program that the configuration names.
func (c *Builder) configured(ctx context.Context, mark string, cfg Config) (condaProvider, builder.Tool, error) {
	hint := "correct conda.path in the configuration, or remove it to have one looked up"
	if !tool.Executable(cfg.Path) {
		return nil, builder.Tool{}, builder.Errorf(builder.CauseToolMissing, hint,
			"conda.path names %s, which is not a program that can be run", cfg.Path)
	}
	name := cfg.Provider
	if name == ProviderAuto {
		name = ""
	}
	program, version, err := c.examine(ctx, mark, cfg.Path, name)
	if ctx.Err() != nil {
		return nil, builder.Tool{}, ctx.Err()
	}
	if err != nil {
		return nil, builder.Tool{}, builder.Errorf(builder.CauseToolMissing, hint,
			"conda.path names %s, which cannot be used: %s", cfg.Path, err)
	}
	return program, builder.Tool{Name: program.name, Version: version, Path: cfg.Path,
		Why: "conda.path in the configuration names it"}, nil
}

// places are the programs of that name: from the tool's own variable, on PATH, and where installers put it.
func (c *Builder) places(name string) []builder.Tool {
	variable := "MAMBA_EXE" // of micromamba and of mamba
	if name == ProviderConda {
		variable = "CONDA_EXE"
	}
	found := uv.Programs(c.environ, name, placesAtHome, c.Elsewhere)
	told := tool.Lookup(c.environ, variable)
	if !filepath.IsAbs(told) || filepath.Base(told) != name+tool.Exe || !tool.Executable(told) {
		return found
	}
	found = slices.DeleteFunc(found, func(t builder.Tool) bool { return t.Path == told })
	return append([]builder.Tool{{Name: name, Path: told, Why: variable + " names it"}}, found...)
}

// examineFor bounds how long a program takes to print its version.
const examineFor = 10 * time.Second

var bareVersion = regexp.MustCompile(`^\d+(\.\w+)+$`)

// examine runs a program for its version, since shims may only say that they have none. The version tells the tools
// apart: micromamba and mamba 2 print a number only, conda its name before it, and mamba 1, which takes conda's
// flags, both. name is the expected tool; empty is any.
func (c *Builder) examine(ctx context.Context, mark, path, name string) (condaProgram, string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, examineFor,
		fmt.Errorf("it does not tell its version within %s", examineFor))
	defer cancel()
	none := condaProgram{}
	done, err := c.uv.Child(ctx, tool.Command{Argv: []string{path, "--version"}, Env: c.ChildEnv(), Mark: mark})
	if ctx.Err() != nil {
		return none, "", context.Cause(ctx)
	}
	if err != nil && done.Output != "" {
		return none, "", fmt.Errorf("%w: %s", err, builder.LastLine(done.Output))
	}
	if err != nil {
		return none, "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(done.Stdout)), "\n")
	first = first[:min(len(first), 100)]
	said, version, named := strings.Cut(strings.TrimSpace(first), " ")
	if !named {
		said, version = "", said
	}
	program := condaProgram{c: c, name: name, path: path, classic: said == ProviderConda || said == ProviderMamba}
	is := said
	switch base := filepath.Base(path); {
	case !bareVersion.MatchString(version), named && !slices.Contains(condaTools, said):
		return none, "", fmt.Errorf("it says %q where its version was asked for", first)
	case named:
	case strings.Contains(base, ProviderMamba) && !strings.Contains(base, ProviderMicromamba):
		is = ProviderMamba
	default:
		is = ProviderMicromamba // renamed more often than mamba, and with the same flags
	}
	if name == "" {
		program.name = is
	}
	if program.name != is && (program.name == ProviderConda || is == ProviderConda) {
		return none, "", fmt.Errorf("it is %s, not %s", is, program.name)
	}
	return program, version, nil
}

// notFound says where a tool was looked for, and the ways out.
func notFound(name string, useless []string) *builder.Error {
	b := &builder.Error{
		Cause: builder.CauseToolMissing, Message: name + " was not found on PATH or where installers put it",
		Hint: fmt.Sprintf("three ways out: install %s, name one as conda.path in the configuration, or have "+
			"conda.provider = %q there",
			name, ProviderRattler),
	}
	if len(useless) > 0 {
		b.Message = fmt.Sprintf("no %s can be used: %s", name, strings.Join(useless, "; "))
	}
	return b
}
