//go:build unix

package pool

// passedHere are variables that only this system has.
var passedHere []string

// foldName is the name of a variable as the system tells one from another.
func foldName(name string) string { return name }
