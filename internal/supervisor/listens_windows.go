package supervisor

import "os"

// listens is false: no service manager passes a pipe.
func listens(*os.File) bool { return false }
