//go:build unix

package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// macOS is what that system can be asked about a process. Tests on other systems answer in its place.
type macOS struct {
	info    func(pid int) (kinfo, error)   // sysctl kern.proc.pid; EIO if it answers with nothing
	session func(pid int) (int, error)     // getsid
	args    func(pid int) ([]byte, error)  // sysctl kern.procargs2; EINVAL also for another user's process
	all     func() (pids []int, err error) // sysctl kern.proc.all
}

// kinfo is what counts here of struct kinfo_proc in sys/sysctl.h.
type kinfo struct {
	pid, parent, group int
	seconds, micros    int64 // since 1970, when it began
	state              int8  // p_stat of sys/proc.h
	terminal           int32 // its device
	user               int   // the real one
}

const (
	zombie   = 5  // SZOMB of sys/proc.h
	noDevice = -1 // NODEV of sys/param.h
)

// stat is statOf. The error is errEnded for a zombie, and fs.ErrNotExist for no process.
func (m macOS) stat(pid int) (stat, error) {
	p, err := m.look(pid)
	if err != nil {
		return stat{}, err
	}
	if p.state == zombie {
		return stat{}, errEnded
	}
	session, _ := m.session(pid)
	s := stat{Process: Process{pid, uint64(p.seconds)*1e6 + uint64(p.micros)}, parent: p.parent, group: p.group,
		session: session, kernel: pid == 0}
	if p.terminal != noDevice {
		s.terminal = session
	}
	return s, nil
}

func (m macOS) look(pid int) (kinfo, error) {
	p, err := m.info(pid)
	if errors.Is(err, syscall.EIO) || err == nil && p.pid != pid {
		err = fs.ErrNotExist
	}
	return p, err
}

// procs calls f with each process of this machine. A list without this process is none.
func (m macOS) procs(f func(pid int)) error {
	list, err := m.all()
	if err == nil && !slices.Contains(list, os.Getpid()) {
		err = errors.New("the system does not list this one")
	}
	if err != nil {
		return err
	}
	for _, pid := range list {
		f(pid)
	}
	return nil
}

// user is userOf.
func (m macOS) user(pid int) (uid int, ok bool) {
	p, err := m.look(pid)
	return p.user, err == nil
}

// environ is environOf.
func (m macOS) environ(pid int) []byte {
	data, _ := m.args(pid)
	return readArgs(data).environ
}

// traces is tracesOf. Without cgo there is no way to mapped files and the working folder.
func (m macOS) traces(pid int) traces {
	data, err := m.args(pid)
	a := readArgs(data)
	t := traces{paths: [][]byte{a.exe, a.args}, environ: a.environ, closed: err != nil || !a.whole}
	if t.closed {
		_, err := m.stat(pid)
		t.closed = !errors.Is(err, errEnded) && !errors.Is(err, fs.ErrNotExist)
	}
	return t
}

// procArgs is what a process was started with. The variables may be missing: the system shows those of its own
// programs to nobody.
type procArgs struct {
	exe, args, environ []byte // args and environ have a zero byte after each item
	whole              bool   // all arguments are there
}

// readArgs takes apart what kern.procargs2 gives: the number of arguments, the path of the executable, zero bytes up to
// the first argument, the arguments and the variables, with a zero byte after every item.
func readArgs(data []byte) (a procArgs) {
	if len(data) < 4 {
		return a
	}
	exe, rest, found := bytes.Cut(data[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	end := 0
	for n := binary.NativeEndian.Uint32(data); n > 0 && found; n-- {
		var next int
		if next = bytes.IndexByte(rest[end:], 0); next < 0 {
			found, next = false, len(rest)-end-1
		}
		end += next + 1
	}
	return procArgs{exe, rest[:end], rest[end:], found}
}
