//go:build unix

package standby

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
)

// TestAStandbyThatBecomesAKernelAsSoonAsItIsReadyLives has both told before the daemon reads either.
func TestAStandbyThatBecomesAKernelAsSoonAsItIsReadyLives(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testkit.Check(t, err)
	ends := make([]*net.UnixConn, 2)
	for i, fd := range pair {
		file := os.NewFile(uintptr(fd), "lifeline")
		conn, err := net.FileConn(file)
		testkit.Check(t, err)
		_ = file.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	kernel := exec.Command("sleep", "60")
	kernel.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	testkit.Check(t, kernel.Start())
	p := &Process{pid: kernel.Process.Pid, cmd: kernel, lifeline: ends[0], lines: bufio.NewReader(ends[0]),
		ended: make(chan struct{})}
	go p.reap()
	caller, err := os.Open(os.DevNull)
	testkit.Check(t, err)
	defer caller.Close()

	_, err = ends[1].Write([]byte(`{"ready": true, "faults": [], "without": ""}` + "\n"))
	testkit.Check(t, err)
	_, _, err = ends[1].WriteMsgUnix([]byte(`{"adopted": true}`+"\n"), unix.UnixRights(int(caller.Fd())), nil)
	testkit.Check(t, err)
	testkit.Check(t, ends[1].Close())
	events := make(chan Event, 10)
	go p.follow(func(event Event) { events <- event })
	if ready := <-events; !ready.Ready {
		t.Fatalf("it says %+v", ready)
	}
	if adopted := <-events; !adopted.Adopted {
		t.Fatalf("it says %+v", adopted)
	}
	testkit.Check(t, kernel.Process.Signal(syscall.SIGTERM))
	if end := <-events; !end.Ended || kernel.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ends with %+v, %v", end, kernel.ProcessState)
	}
}
