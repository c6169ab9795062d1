//go:build unix

package tool

var passedHere []string

// FoldName returns the form in which two names of the same variable are equal.
func FoldName(name string) string { return name }
