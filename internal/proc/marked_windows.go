package proc

// Marked has nothing to find: the children of builds are in job objects, which end with their daemon.
func Marked(func(dir string) bool) []int { return nil }
