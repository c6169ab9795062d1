//go:build e2e

package e2e

import (
	"bytes"
	"os/exec"
	"time"
)

// lodger is a running daemon.
type lodger struct {
	*house
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan struct{}
}

// kill ends the daemon at once, as the kernel does when memory runs out.
func (l *lodger) kill() {
	_ = l.cmd.Process.Kill()
	<-l.ended
}

// exit is the exit code of a daemon that ends within the time.
func (l *lodger) exit(within time.Duration) int {
	l.t.Helper()
	select {
	case <-l.ended:
		return l.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		l.t.Fatalf("the daemon did not end within %s", within)
		return -1
	}
}
