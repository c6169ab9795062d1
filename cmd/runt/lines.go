package main

import (
	"strings"

	"runtimed/internal/redact"
)

// shown is one line of what others may have written, fit for a terminal and for whoever looks at it.
func shown(s string) string { return redact.Printable(redact.Text(s)) }

// lastLines are the last n lines of a tool's output, fit for a terminal.
func lastLines(output string, n int) []string {
	output = strings.TrimSpace(redact.Text(output))
	if output == "" {
		return nil
	}
	lines := strings.Split(output, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i] = redact.Printable(strings.TrimRight(lines[i], "\r"))
	}
	return lines
}
