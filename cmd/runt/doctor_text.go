package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"runtimed/internal/redact"
	"runtimed/rpc"
)

// verdicts are in the order in which people read them: what is wrong stands last, where the eye is.
var verdicts = []struct{ status, colour string }{
	{rpc.CheckOK, "32"}, {rpc.CheckWarning, "33"}, {rpc.CheckProblem, "31"},
}

// writeFindings prints the list for people.
func writeFindings(w io.Writer, list []finding, colours bool) {
	wide := 0
	for _, f := range list {
		wide = max(wide, len(f.Name))
	}
	var counts []string
	for _, v := range verdicts {
		n := 0
		for _, f := range list {
			if f.Status != v.status {
				continue
			}
			n++
			word := fmt.Sprintf("%-7s", f.Status)
			if colours {
				word = "\x1b[" + v.colour + "m" + word + "\x1b[0m"
			}
			lines := strings.Split(redact.PrintableLines(f.Message), "\n")
			if f.Fixed != "" {
				lines = append(lines, "repaired: "+redact.Printable(f.Fixed))
			}
			if f.Hint != "" {
				lines = append(lines, "-> "+redact.Printable(f.Hint))
			}
			fmt.Fprintf(w, "%s  %-*s  %s\n", word, wide, f.Name, lines[0])
			for _, line := range lines[1:] {
				fmt.Fprintf(w, "%*s%s\n", len("problem")+2+wide+2, "", line)
			}
		}
		if n > 0 {
			counts = append(counts, count(n, v.status))
		}
	}
	slices.Reverse(counts)
	fmt.Fprintf(w, "\n%s\n", strings.Join(counts, ", "))
}

func count(n int, what string) string {
	if n != 1 && what != rpc.CheckOK {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
