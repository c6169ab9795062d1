package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/kernel"
)

type kernelspecCmd struct {
	Install kernelspecInstallCmd `cmd:"" help:"Add the warm kernels to every notebook front-end."`
	Remove  kernelspecRemoveCmd  `cmd:"" help:"Remove them; the kernels of others stay."`
	List    kernelspecListCmd    `cmd:"" help:"List them, and say whether their runt is there."`
}

type specFilter struct {
	Pool *string `placeholder:"NAME" complete:"pools" help:"The kernel of this pool only."`
	Name *string `placeholder:"NAME" help:"The kernel of this name only (default: runtimed- and the pool's name)."`
}

func (f *specFilter) Validate() error {
	if f.Name != nil && !kernel.ValidName().MatchString(*f.Name) {
		return fmt.Errorf("--name may have letters, digits, -, . and _, got %q", *f.Name)
	}
	return nil
}

func (f *specFilter) specs(dirs ...string) []kernel.Spec {
	list := []kernel.Spec{}
	for _, dir := range dirs {
		for _, s := range kernel.SpecsIn(dir) {
			if (f.Name == nil || strings.EqualFold(s.Name, *f.Name)) && (f.Pool == nil || s.Pool == *f.Pool) {
				list = append(list, s)
			}
		}
	}
	return list
}

type kernelspecInstallCmd struct {
	specFilter `embed:""`
	specPlace  `embed:""`
	OnRestart  string `enum:"keep,fresh" default:"keep" help:"${kernelspecInstallOnRestart}"`
}

func (kernelspecInstallCmd) Help() string {
	return "JupyterLab, Notebook, VS Code, nbclient, papermill and whatever else reads kernelspecs then offer " +
		"'Python (warm)', which is that of the pool uv, one like it for every other pool that is not off, and " +
		"'Python (project)', which has what the notebook's own project asks for. Doing it again brings them up to " +
		"date, and removes those whose pool is off or gone."
}

func (c *kernelspecInstallCmd) Run(a *app) error {
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if below, rerr := filepath.Rel(a.Env("HOME"), dir); rerr == nil && filepath.IsLocal(below) {
		if err := a.CheckHome(); err != nil { // a --prefix elsewhere may well be root's
			return err
		}
	}
	all, err := a.specPools()
	if err != nil {
		return err
	}
	pools, err := c.pools(a, all)
	if err != nil {
		return err
	}
	whole := c.Pool == nil && c.Name == nil
	if whole {
		pools = append(pools, "") // the kernel for notebooks' projects
	}
	if c.Name != nil && len(pools) > 1 {
		return failure.With(failure.Usage, "--name is for one kernel, but there are %d pools", len(pools)).
			WithHint("say which with --pool")
	}
	runt, why, err := a.LastingRunt()
	if err != nil {
		return err
	}
	if name := kernel.Placeholder().FindString(runt); name != "" {
		return failure.New("front-ends cannot start %s: they replace %s in it", runt, name).
			WithHint("install runt in a folder of another name")
	}
	if why != "" {
		a.Note("the kernels start %s, and that place may not last: %s", runt, why)
		a.Hint("install runt in a place that lasts, and do this again from there")
	}
	type installed struct {
		kernel.Spec
		Changed bool `json:"changed"`
	}
	list := make([]installed, 0, len(pools))
	for _, pool := range pools {
		name := "runtimed-" + pool
		if pool == "" {
			name = kernel.ProjectName
		}
		if c.Name != nil {
			name = strings.ToLower(*c.Name)
		}
		s := kernel.NewSpec(filepath.Join(dir, name), pool, all.kind(pool), runt, c.OnRestart)
		changed, err := s.Install()
		if err != nil {
			return err
		}
		list = append(list, installed{s, changed})
	}
	removed := []kernel.Spec{}
	for _, s := range kernel.SpecsIn(dir) {
		if !whole || all.state(s.Pool) == poolOn {
			continue
		}
		if err := s.Remove(); err != nil {
			return err
		}
		removed = append(removed, s)
	}
	return a.show(map[string]any{"kernelspecs": list, "removed": removed}, func() {
		for _, s := range list {
			done := "up to date"
			if s.Changed {
				done = "installed"
			}
			a.printf("%s: %s, as %s\n", done, s.DisplayName, s.Path)
		}
		for _, s := range removed {
			a.printf("removed, as the pool %s is %s: %s\n", s.Pool, all.state(s.Pool), s.Path)
		}
	})
}

// pools are those that get a kernel.
func (c *kernelspecInstallCmd) pools(a *app, all specPools) ([]string, error) {
	var on, names []string
	for _, p := range all {
		if names = append(names, p.Name); p.Size > 0 {
			on = append(on, p.Name)
		}
	}
	switch {
	case c.Pool == nil && len(on) == 0 && c.Name != nil:
		return nil, failure.New("every pool is off").
			WithHint("give one a size in the configuration, or name one with --pool")
	case c.Pool == nil:
		if len(on) == 0 {
			a.Note("every pool is off, so none gets a kernel")
		}
		return on, nil
	case all.state(*c.Pool) == poolGone:
		return nil, failure.With(failure.Unknown, "there is no pool %q", *c.Pool).
			WithHint("there are: %s", strings.Join(names, ", "))
	case all.state(*c.Pool) == poolOff:
		a.Note("the pool %s is off; its kernel says so until it is given a size", *c.Pool)
	}
	return []string{*c.Pool}, nil
}

type kernelspecRemoveCmd struct {
	specFilter `embed:""`
	specPlace  `embed:""`
}

func (c *kernelspecRemoveCmd) Run(a *app) error {
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if c.Name != nil {
		path := filepath.Join(dir, strings.ToLower(*c.Name))
		if _, ours := kernel.ReadSpec(path); safefile.Exists(path) && !ours {
			return kernel.NotOurs(path)
		}
	}
	removed := c.specs(dir)
	for _, s := range removed {
		if err := s.Remove(); err != nil {
			return err
		}
	}
	return a.show(map[string]any{"removed": removed}, func() {
		for _, s := range removed {
			a.printf("removed: %s\n", s.Path)
		}
		if len(removed) == 0 {
			a.printf("nothing to remove in %s\n", dir)
		}
	})
}

type kernelspecListCmd struct {
	specFilter `embed:""`
	specPlace  `embed:""`
}

func (c *kernelspecListCmd) Run(a *app) error {
	dirs := kernel.Dirs(a.Env)
	if c.named() {
		dir, err := c.dir(a)
		if err != nil {
			return err
		}
		dirs = []string{dir}
	}
	specs := c.specs(dirs...)
	all, err := a.specPools()
	type listed struct {
		kernel.Spec
		PoolState string `json:"pool_state,omitempty"`
	}
	list := make([]listed, len(specs))
	for i, s := range specs {
		if list[i].Spec = s; err == nil && s.Pool != "" {
			list[i].PoolState = all.state(s.Pool)
		}
	}
	if a.json {
		return a.encode(map[string]any{"kernelspecs": list})
	}
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "none that runt has made; runt kernelspec install does. "+
			"What pip has brought: jupyter kernelspec list")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSHOWN AS\tPOOL\tRUNT\tPATH")
	for _, s := range list {
		runt, pool := "there", cmp.Or(s.Pool, "(project)")
		if !s.RuntExists {
			runt = "gone"
		}
		if s.PoolState == poolOff || s.PoolState == poolGone {
			pool += " (" + s.PoolState + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", redact.Printable(s.Name), redact.Printable(s.DisplayName),
			redact.Printable(pool), runt, redact.Printable(s.Path))
	}
	return w.Flush()
}

type specPlace struct {
	User      bool   `xor:"place" help:"For this user, where every Jupyter looks (the default)."`
	Prefix    string `xor:"place" placeholder:"DIR" type:"path" help:"${specPlacePrefix}"`
	SysPrefix bool   `xor:"place" help:"For the Jupyter of the environment that is active in this shell."`
}

func (p *specPlace) named() bool { return p.User || p.Prefix != "" || p.SysPrefix }

func (p *specPlace) dir(a *app) (string, error) {
	prefix := p.Prefix
	if p.SysPrefix {
		if prefix = kernel.ActivePrefix(a.Env); prefix == "" {
			return "", failure.With(failure.Usage,
				"no environment is active: neither VIRTUAL_ENV nor CONDA_PREFIX is set").
				WithHint("activate one, or name it with --prefix")
		}
	}
	if prefix != "" {
		return filepath.Join(prefix, "share", "jupyter", "kernels"), nil
	}
	data := kernel.DataDir(runtime.GOOS, a.Env)
	if data == "" {
		return "", failure.New("HOME is not set, so there is no place for kernels").
			WithHint("set it, or name a place with --prefix")
	}
	dir, err := filepath.Abs(filepath.Join(data, "kernels"))
	return dir, err
}
