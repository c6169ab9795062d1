//go:build unix

// Package launch has the Python that starts ipykernel as python -m ipykernel_launcher does. It also hands it sockets
// that listen already, and has it give its environment back.
package launch

import (
	_ "embed"
	"fmt"
)

// Script defines launch(argv, listeners, release, ignored). launch.py describes them.
//
//go:embed launch.py
var Script string

// Boot is a text for python -c that runs the script of File at that descriptor. It is short, because it shows in lists
// of processes.
func Boot(fd int, name string) string {
	return fmt.Sprintf("exec(compile(open(%d, encoding='utf-8').read(), '%s', 'exec'))", fd, name)
}
