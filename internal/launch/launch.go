//go:build unix

// Package launch has the Python that starts ipykernel as python -m ipykernel_launcher does. It also hands it sockets
// that listen already, and has it give its environment back.
package launch

import (
	_ "embed"
	"fmt"
	"os"
)

// Script defines launch(argv, listeners, release, ignored, banner). launch.py describes them.
//
//go:embed launch.py
var Script string

// Boot is a text for python -c that runs the script of File at that descriptor. It is short, because it shows in lists
// of processes.
func Boot(fd int, name string) string {
	return fmt.Sprintf("exec(compile(open(%d, encoding='utf-8').read(), '%s', 'exec'))", fd, name)
}

const mostScript = 64 << 10 // what a pipe takes without a reader

func pipe(script string) (*os.File, error) {
	if len(script) > mostScript {
		return nil, fmt.Errorf("a script of %d bytes, at most %d fit into a pipe", len(script), mostScript)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if _, err := w.WriteString(script); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}
