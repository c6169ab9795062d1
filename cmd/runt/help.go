package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"runtimed/internal/failure"
)

type helpCmd struct {
	Words []string `arg:"" optional:"" name:"command" help:"A command, or a topic: exit-codes, environment or config."`
}

type topic struct {
	name, title string
	intro       string
	entries     func() []entry
	outro       string
}

var topics = []topic{
	{
		name: "exit-codes", title: "What the exit codes of runt mean.",
		entries: exitEntries,
		outro: "runt run otherwise ends with the code of its command. Errors and hints go to stderr; stdout holds " +
			"the answer or nothing.",
	},
	{
		name: "environment", title: "The variables that runt and runtimed read.",
		intro:   "A flag of runtimed run overrides a variable, and a variable overrides the configuration file.",
		entries: func() []entry { return append(append([]entry{}, variables...), otherVariables...) },
	},
	{
		name: "config", title: "The keys of the configuration file, with their defaults.",
		intro: "The file is ~/.config/runt/config.toml ($XDG_CONFIG_HOME/runt/config.toml if that variable is an " +
			"absolute path; on Windows %APPDATA%\\runt\\config.toml), in TOML. It may be missing. An unknown key or " +
			"a bad value is an error. On Linux and macOS, /etc/runt/config.toml has an administrator's defaults for " +
			"every user.",
		entries: keyEntries,
		outro: "NAME is a lower-case letter and then up to 31 of a-z, 0-9, _ and -. Durations are like 90s, 30m, " +
			"48h. Sizes are a number of bytes or like 500MB, 1GiB. The values in force: runt config show. The " +
			"commands: runt config --help",
	},
}

func (c *helpCmd) Run(a *app) error {
	if len(c.Words) == 1 {
		for _, t := range topics {
			if t.name == c.Words[0] {
				return a.explain(t)
			}
		}
	}
	node := a.model.Node
	for _, word := range c.Words {
		if node = childOf(node, word); node == nil || node.Hidden {
			return failure.With(failure.Usage, "there is no command or topic %q", strings.Join(c.Words, " ")).
				WithHint("see: runt help")
		}
	}
	if err := a.dispatch(append(c.Words[:len(c.Words):len(c.Words)], "--help")); err != nil {
		return err
	}
	if len(c.Words) == 0 {
		fmt.Fprint(a.stdout, "\nTopics:\n")
		for _, t := range topics {
			fmt.Fprintf(a.stdout, "  runt help %-12s %s\n", t.name, t.title)
		}
		return nil
	}
	if list := examplesOf(node.FullPath()); len(list) > 0 {
		fmt.Fprint(a.stdout, "\nExamples:\n")
		for _, e := range list {
			fmt.Fprintf(a.stdout, "  %s\n", e.Name)
			writeWrapped(a.stdout, e.Text, 6)
		}
	}
	return nil
}

func (a *app) explain(t topic) error {
	entries := t.entries()
	return a.show(entries, func() {
		fmt.Fprintln(a.stdout, t.title)
		if t.intro != "" {
			fmt.Fprintln(a.stdout)
			writeWrapped(a.stdout, t.intro, 0)
		}
		fmt.Fprintln(a.stdout)
		for _, e := range entries {
			if head := e.Name + more(e); len(head) < 4 {
				fmt.Fprintf(a.stdout, "  %-4s  %s\n", head, e.Text)
			} else {
				fmt.Fprintf(a.stdout, "  %s\n", head)
				writeWrapped(a.stdout, e.Text, 6)
			}
		}
		if t.outro != "" {
			fmt.Fprintln(a.stdout)
			writeWrapped(a.stdout, t.outro, 0)
		}
	})
}

func more(e entry) string {
	switch {
	case e.Default != "":
		return " (default: " + e.Default + ")"
	case e.Flag != "":
		return " (" + e.Flag + ")"
	}
	return ""
}

func writeWrapped(w io.Writer, text string, indent int) {
	for _, line := range wrapped(text, 80-indent) {
		fmt.Fprintf(w, "%*s%s\n", indent, "", line)
	}
}

// wrapped breaks a text into lines of at most that many bytes; a longer word has a line of its own.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func helpNames(node *kong.Node, words []string) (names []string) {
	for _, word := range words {
		if node = childOf(node, word); node == nil {
			return nil
		}
	}
	names = visible(node)
	if len(words) == 0 {
		for _, t := range topics {
			if childOf(node, t.name) == nil {
				names = append(names, t.name)
			}
		}
	}
	return names
}
