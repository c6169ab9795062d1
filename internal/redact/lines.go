package redact

import "strings"

// Line redacts a text and makes it fit for a terminal, on one line.
func Line(s string) string { return Printable(Text(s)) }

// LastLines are the last n lines of a tool's output, redacted and fit for a terminal.
func LastLines(output string, n int) []string {
	output = strings.TrimSpace(Text(output))
	if output == "" {
		return nil
	}
	lines := strings.Split(output, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i] = Printable(strings.TrimRight(lines[i], "\r"))
	}
	return lines
}
