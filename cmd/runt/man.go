package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd is for those who make packages; users have the pages from there.
type manCmd struct {
	Dir string `arg:"" type:"path" help:"Where the pages go."`
}

func (c *manCmd) Run(a *app) error {
	pages, err := manPages(a.model)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	for _, p := range pages {
		path := filepath.Join(c.Dir, p.file())
		if err := os.WriteFile(path, []byte(p.text()), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, path)
	}
	return nil
}

// manPages are all of them: of runt, of each of its commands, of runtimed and of the configuration.
func manPages(model *kong.Application) ([]*manPage, error) {
	main := newPage("runt", 1, model.Help)
	all := []*manPage{main}
	for _, child := range model.Children {
		if !child.Hidden {
			all = append(all, commandPage(child))
		}
	}
	if err := mainPage(main, model); err != nil {
		return nil, err
	}
	daemon, err := daemonPage()
	if err != nil {
		return nil, err
	}
	keys, err := configPage()
	if err != nil {
		return nil, err
	}
	all = append(all, daemon, keys)
	for _, p := range all {
		p.section("SEE ALSO")
		var others []string
		for _, o := range all {
			if o != p && (p == main || !strings.HasPrefix(o.name, "runt-")) {
				others = append(others, o.reference())
			}
		}
		p.raw(strings.Join(others, ",\n"))
	}
	return all, nil
}

func mainPage(p *manPage, model *kong.Application) error {
	p.section("SYNOPSIS")
	p.raw(bold("runt") + " " + italic("command") + " [" + italic("flags") + "]")
	p.section("DESCRIPTION")
	p.para("runtimed is a daemon of each user's own that keeps Python environments ready and lends them. runt is its command line. " +
		"Commands that take an environment start the daemon where none runs; commands that only ask never do.")
	p.section("COMMANDS")
	for _, child := range model.Children {
		if !child.Hidden {
			p.item(bold(child.FullPath()), child.Help+" See runt-"+child.Name+"(1).")
		}
	}
	p.section("OPTIONS")
	p.flags(model.Flags)
	p.section("EXIT STATUS")
	p.entries(exitEntries())
	p.para(topics[0].outro)
	p.section("ENVIRONMENT")
	p.entries(variables)
	p.entries(otherVariables)
	p.section("FILES")
	p.entries(files)
	p.section("EXAMPLES")
	p.examples(examplesOf("runt"))
	return nil
}

func commandPage(node *kong.Node) *manPage {
	p := newPage("runt-"+node.Name, 1, node.Help)
	p.section("SYNOPSIS")
	leaves := []*kong.Node{node}
	if len(node.Children) > 0 {
		leaves = node.Leaves(true)
	}
	for i, leaf := range leaves {
		if i > 0 {
			p.raw(".br")
		}
		p.synopsis(leaf)
	}
	p.section("DESCRIPTION")
	p.para(node.Help)
	p.detail(node.Detail)
	if len(node.Children) == 0 {
		p.arguments(node)
	} else {
		p.section("COMMANDS")
		for _, leaf := range leaves {
			p.raw(".SS " + quoted(leaf.FullPath()))
			p.para(leaf.Help)
			p.detail(leaf.Detail)
			p.arguments(leaf)
		}
	}
	p.section("OPTIONS")
	p.para("The same for every command:")
	for node.Parent != nil {
		node = node.Parent
	}
	p.flags(node.Flags)
	p.section("EXIT STATUS")
	p.para("As in runt(1): 0 is done, 2 wrong usage, 3 no daemon.")
	if list := examplesOf(strings.ReplaceAll(p.name, "-", " ")); len(list) > 0 {
		p.section("EXAMPLES")
		p.examples(list)
	}
	return p
}

func daemonPage() (*manPage, error) {
	p := newPage("runtimed", 1, "Keeps Python environments warm and lends them to whoever asks on its socket.")
	p.section("SYNOPSIS")
	p.raw(bold("runtimed") + " [" + bold("run") + "] [" + italic("flags") + "]")
	p.section("DESCRIPTION")
	p.para("runtimed keeps its pools filled and answers on its socket until it is told to stop. It runs in the foreground; " +
		"runt daemon start starts it in the background. SIGTERM and SIGINT stop it, SIGHUP has it read its configuration again. " +
		"There is one for each user. What is ready or leased stays on disk when it ends, and the next one goes on with it.")
	p.section("OPTIONS")
	for _, e := range variables {
		if e.Flag != "--no-start" {
			p.item(bold(e.Flag), "In place of "+e.Name+": "+e.Text+".")
		}
	}
	p.item(bold("--help"), "Print what there is.")
	p.item(bold("--version"), "Print the version.")
	p.section("EXIT STATUS")
	p.entries(daemonExits)
	p.section("ENVIRONMENT")
	p.para(topics[1].intro)
	p.entries(variables)
	p.entries(otherVariables)
	p.section("FILES")
	p.entries(files)
	return p, nil
}

func configPage() (*manPage, error) {
	t := topics[2]
	entries, err := t.entries()
	if err != nil {
		return nil, err
	}
	p := newPage("runtimed-config", 5, "the configuration of runtimed")
	p.section("DESCRIPTION")
	p.para(t.intro)
	p.para(t.outro)
	p.section("KEYS")
	p.entries(entries)
	p.section("FILES")
	p.entries(files[:1])
	p.section("EXAMPLES")
	p.code(configExample)
	return p, nil
}

const configExample = `log_level = "info"

[pools.uv]
size = 4

[pools.science]
kind = "uv"
size = 2
python = "3.12"
packages = ["pip", "numpy>=2", "matplotlib"]
max_age = "24h"`
