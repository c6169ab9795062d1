//go:build unix

package launch

import (
	"fmt"
	"os"
)

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
