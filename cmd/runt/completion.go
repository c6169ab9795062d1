package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"runtimed/internal/redact"
	"runtimed/rpc"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash, zsh, fish or powershell."`
}

func (completionCmd) Help() string {
	return `Load it with one of:

    source <(runt completion bash)
    source <(runt completion zsh)
    runt completion fish | source
    runt completion powershell | Out-String | Invoke-Expression

To load it in every shell, put that line into the file that the shell reads at its start.`
}

var (
	//go:embed completion.bash
	bashScript string
	//go:embed completion.zsh
	zshScript string
	//go:embed completion.fish
	fishScript string
	//go:embed completion.ps1
	powershellScript string
)

func (c *completionCmd) Run(a *app) error {
	fmt.Fprint(a.stdout, map[string]string{
		"bash": bashScript, "zsh": zshScript, "fish": fishScript, "powershell": powershellScript,
	}[c.Shell])
	return nil
}

// completeCmd is what the shells' scripts call. It is written by hand because the command tree itself knows what may
// follow, and kong's own completion packages know neither pools nor environments.
type completeCmd struct {
	Words []string `arg:"" optional:"" help:"The words after runt; the last is the one to complete."`
}

func (c *completeCmd) Run(a *app) error {
	for _, word := range a.complete(c.Words) {
		fmt.Fprintln(a.stdout, redact.Printable(word))
	}
	return nil
}

// complete returns what could stand for the last word. If that is nothing, the shell offers files.
func (a *app) complete(words []string) []string {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:] // kong's passthrough
	}
	if len(words) == 0 {
		words = []string{""}
	}
	last, before := words[len(words)-1], slices.Clone(words[:len(words)-1])
	before = slices.DeleteFunc(before, func(s string) bool { return s == "=" })
	node, position := a.model.Node, 0
	var flag *kong.Flag // waits for its value
	for i, word := range before {
		switch {
		case flag != nil:
			flag = nil
		case word == "--":
			return nil
		case strings.HasPrefix(word, "-"):
			flag = valueFlag(node, word)
		default:
			if child := childOf(node, word); child != nil {
				node = child
			} else if position++; node.Name == "run" {
				return nil // the rest is another command's
			}
			if node.Name == "help" && node.Parent == a.model.Node {
				isFlag := func(s string) bool { return strings.HasPrefix(s, "-") }
				return matching(helpNames(a.model.Node, slices.DeleteFunc(before[i+1:], isFlag)), last, "")
			}
		}
	}
	if last == "=" { // bash takes --pool=u apart, and PowerShell cannot hand over an empty word
		last = ""
	}
	if flag != nil {
		return matching(a.values(flag.Value), last, "")
	}
	if name, typed, ok := strings.Cut(last, "="); ok && strings.HasPrefix(name, "--") {
		if flag = valueFlag(node, name); flag != nil {
			return matching(a.values(flag.Value), typed, name+"=")
		}
		return nil
	}
	if strings.HasPrefix(last, "-") {
		return matching(flagNames(node), last, "")
	}
	names := visible(node)
	at := min(position, len(node.Positional)-1)
	if at >= 0 && (at == position || node.Positional[at].IsCumulative()) {
		names = append(names, a.values(node.Positional[at])...)
	}
	return matching(names, last, "")
}

func matching(words []string, typed, prefix string) (out []string) {
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			out = append(out, prefix+w)
		}
	}
	return out
}

func visible(node *kong.Node) (names []string) {
	for _, child := range node.Children {
		if !child.Hidden {
			names = append(names, child.Name)
		}
	}
	return names
}

func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

func valueFlag(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if ("--"+f.Name == word || f.Short != 0 && "-"+string(f.Short) == word) && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}

func flagNames(node *kong.Node) (names []string) {
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// values are what a flag or an argument may be, as far as that is known before the user loses patience.
func (a *app) values(v *kong.Value) (out []string) {
	ctx, cancel := context.WithTimeout(a.Ctx, 200*time.Millisecond)
	defer cancel()
	switch v.Tag.Get("complete") {
	case "methods":
		for _, m := range rpc.Methods {
			out = append(out, m.Name)
		}
		return out
	case "pools":
		var r rpc.StatusResult
		a.askQuietly(ctx, rpc.MethodStatus, nil, &r)
		for _, p := range r.Pools {
			out = append(out, p.Name)
		}
	case "leased":
		leased := rpc.EnvLeased
		var r rpc.EnvListResult
		a.askQuietly(ctx, rpc.MethodEnvList, rpc.EnvListParams{State: &leased}, &r)
		for _, e := range r.Envs {
			out = append(out, e.ID)
		}
	default:
		out = slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
	}
	return out
}

func (a *app) askQuietly(ctx context.Context, method string, params, result any) {
	if c, _, err := a.Dial(ctx, nil); err == nil {
		_ = c.Call(ctx, method, params, result) // without an answer there is nothing to offer
		c.Close()
	}
}
