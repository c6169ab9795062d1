//go:build unix

package tool

// passedHere are variables that only this system has.
var passedHere []string

// FoldName is the name of a variable as the system tells one from another.
func FoldName(name string) string { return name }
