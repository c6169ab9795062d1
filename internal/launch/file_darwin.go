package launch

import (
	"fmt"
	"os"
)

const mostScript = 64 << 10 // what a pipe takes without a reader

// File returns a file from which the script can be read once.
func File(script string) (*os.File, error) {
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
