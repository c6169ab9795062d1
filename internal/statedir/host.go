package statedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/safefile"
)

// hostName is a file in a folder of ours that other machines may see.
const hostName = "daemon.host"

// hostPatience is how long such a file is watched. A daemon that lives writes it every two seconds.
const hostPatience = 6500 * time.Millisecond

// hostAge is how old such a file must be to count as abandoned.
const hostAge = 3 * time.Minute

// HostError means that a daemon on another machine uses a folder.
type HostError struct{ Dir, Host string }

func (e *HostError) Error() string {
	return fmt.Sprintf("a daemon on another machine (%s) uses %s: have cache_dir and RUNTIMED_SOCKET name folders "+
		"that no other machine has", e.Host, e.Dir)
}

// claim is the right to use a folder that other machines may see. Locks do not tell: on some network file
// systems they reach no other machine. So whoever has the right writes a file again and again, and whoever wants it
// looks whether that file still changes.
type claim struct {
	path, token string
	beats       int
}

// claimFolder returns nil if no other machine can see dir.
func claimFolder(dir string) (*claim, error) {
	if !isShared(dir) {
		return nil, nil
	}
	if !abandoned(dir) {
		if err := unclaimed(dir); err != nil {
			return nil, err
		}
	}
	c := &claim{path: filepath.Join(dir, hostName), token: rand.Text()}
	_ = os.Remove(c.path) // a dead daemon's
	f, err := safefile.OpenOwn(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, c.lost()
	}
	if err == nil {
		err = errors.Join(f.Close(), c.renew())
	}
	return c, err
}

// abandoned reports whether the file is so old that there is nothing to wait for, as in a copy of the folder. The clock
// is that of the file system, and it may tell times that it has kept for a while.
func abandoned(dir string) bool {
	was, err := os.Stat(filepath.Join(dir, hostName))
	if err != nil {
		return false
	}
	f, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return false
	}
	now, err := f.Stat()
	_ = f.Close()
	_ = os.Remove(f.Name())
	return err == nil && now.ModTime().Sub(was.ModTime()) > hostAge
}

func isShared(dir string) bool {
	m, err := MountOf(dir)
	return err == nil && (m.Network || m.Guest)
}

// unclaimed returns a HostError if a daemon uses dir, which other machines may see.
func unclaimed(dir string) error {
	path := filepath.Join(dir, hostName)
	if !isShared(dir) {
		return nil
	}
	first, err := safefile.ReadOwn(path, maxLock)
	for end := time.Now().Add(hostPatience); err == nil && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var now []byte
		if now, err = safefile.ReadOwn(path, maxLock); err == nil && string(now) != string(first) {
			return &HostError{dir, hostIn(now)}
		}
	}
	return nil // there is none, or it cannot be read
}

// orHost is err, or who holds a lock if that is a daemon on another machine.
func orHost(err error, dir string) error {
	if errors.As(err, new(*HeldError)) {
		here, _ := os.Hostname() // of this machine the lock file tells more
		if host, ok := errors.AsType[*HostError](unclaimed(dir)); ok && host.Host != here {
			return host
		}
	}
	return err
}

// hostIn is the name of the machine in the file.
func hostIn(data []byte) string {
	if fields := strings.Fields(string(data)); len(fields) == 3 {
		return fields[2]
	}
	return "unknown"
}

// renew writes the file. It returns a HostError if another daemon has written it since.
func (c *claim) renew() error {
	data, err := safefile.ReadOwn(c.path, maxLock)
	if err == nil && len(data) > 0 && !strings.HasPrefix(string(data), c.token) {
		return &HostError{filepath.Dir(c.path), hostIn(data)}
	}
	c.beats++
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// It is as long as before, and never empty, since some network file systems look at the size only now and then.
	f, err := safefile.OpenOwn(c.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %010d %s\n", c.token, c.beats, host)
	return errors.Join(err, f.Close())
}

func (c *claim) lost() error {
	data, _ := safefile.ReadOwn(c.path, maxLock)
	return &HostError{filepath.Dir(c.path), hostIn(data)}
}

// free removes the file, unless it is another daemon's by now.
func (c *claim) free() {
	if data, err := safefile.ReadOwn(c.path, maxLock); err == nil && strings.HasPrefix(string(data), c.token) {
		_ = os.Remove(c.path) // if it stays, the next start waits
	}
}
