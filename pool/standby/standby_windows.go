package standby

import (
	"context"
	"errors"
	"net"
)

// Process is a Python that waits to become a kernel. There are none on Windows, where a descriptor cannot be passed on.
type Process struct{}

// Start fails.
func Start(context.Context, Command) (p *Process, says Says, output string, err error) {
	return nil, Says{}, "", errors.ErrUnsupported
}

// PID is 0.
func (*Process) PID() int { return 0 }

// Stay fails.
func (*Process) Stay(*net.UnixListener, string, []string, func(Event)) error {
	return errors.ErrUnsupported
}

// End does nothing.
func (*Process) End() {}
