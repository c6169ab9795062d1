package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// remakeTime bounds how long the service manager is asked, and remakePause is between two tries.
const (
	remakeTime  = 5 * time.Second
	remakePause = time.Minute
)

// passed is the socket that a service manager listens on and has passed to us. It stays the manager's: we never remove
// its file nor bind it again, so that whoever connects while no daemon runs waits for the next one.
type passed struct {
	*net.UnixListener
	unit  string    // that made it
	asked time.Time // for the file, last
}

// passedError is what is wrong with what the manager passed.
type passedError struct{ text string }

func (e *passedError) Error() string { return "the service manager passed " + e.text }

// takePassed makes a listener of the one socket that was passed. It must be the one where clients look.
func takePassed(files []*os.File, path string) (*passed, error) {
	if len(files) != 1 {
		return nil, &passedError{fmt.Sprintf("%d sockets, and one is expected", len(files))}
	}
	f := files[0]
	defer f.Close() // the listener has a copy
	if !listens(f) {
		return nil, &passedError{"what is no listening stream socket"}
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, &passedError{"a socket that cannot be used: " + err.Error()}
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, &passedError{fmt.Sprintf("a socket at %s, which is not a Unix socket", ln.Addr())}
	}
	if at := ul.Addr().String(); !samePlace(at, path) {
		_ = ul.Close()
		return nil, &passedError{fmt.Sprintf("the socket %s, and clients look at %s", at, path)}
	}
	unit := f.Name() // systemd names it after the unit, unless that says otherwise
	if !strings.HasSuffix(unit, ".socket") {
		unit = "runtimed.socket"
	}
	return &passed{UnixListener: ul, unit: unit}, nil
}

// samePlace says whether two paths name the same file, be it there or not, also where a link leads to its folder.
func samePlace(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(filepath.Dir(a))
	y, yerr := os.Stat(filepath.Dir(b))
	return err == nil && yerr == nil && os.SameFile(x, y) && filepath.Base(a) == filepath.Base(b)
}

// remake has the manager make the socket's file again, which only it can. That restarts the service too: the unit of
// the service requires that of the socket, so both are one job, which this process need not live to see. It returns
// false where the manager was asked a short while ago.
func (p *passed) remake(ctx context.Context) (bool, error) {
	if !p.asked.IsZero() && time.Since(p.asked) < remakePause {
		return false, nil
	}
	p.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, remakeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "--user", "--no-block", "restart", p.unit)
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
	out, err := cmd.CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil && said != "" {
		err = errors.New(said)
	}
	return true, err
}
