package proc

// EnvironOf is the environment that a process of ours was started with; nil where it cannot be seen, as here, where it cannot be
// told from the arguments before it with certainty.
func EnvironOf(int) []string { return nil }
