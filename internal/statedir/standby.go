package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"runtimed/internal/lazyregexp"
)

// MostSocketPath is how many bytes the path of a socket may have on the system goos.
func MostSocketPath(goos string) int {
	if goos == "linux" {
		return 107
	}
	return 103
}

var standbyForm = lazyregexp.New(`^k[0-9a-f]{8}$`)

// StandbyName is the name of the socket of an environment's standby kernel, beside the daemon's socket. It is short,
// since the path of a socket is limited.
func StandbyName(id string) string { return "k" + id[strings.LastIndexByte(id, '-')+1:] }

// CheckStandbys says why no standby kernel can have its socket in dir; nil if one can.
func CheckStandbys(dir string) error {
	most := MostSocketPath(runtime.GOOS)
	if n := len(filepath.Join(dir, StandbyName("-00000000"))); n > most {
		return fmt.Errorf("the path of its socket in %s would be %d bytes long, and this system allows %d: "+
			"set RUNTIMED_SOCKET to a path in another folder", dir, n, most)
	}
	return nil
}

// RemoveStandby removes the socket of a standby kernel at path. The error says that something else is there.
func RemoveStandby(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New(path + " is in the way: it is not a socket, so it is left alone")
	}
	return os.Remove(path)
}

// DeadStandbys returns the sockets in dir of standby kernels that have ended.
func DeadStandbys(dir string) (paths []string) {
	entries, _ := os.ReadDir(dir) // what cannot be read stays
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if standbyForm().MatchString(e.Name()) && SocketIsDead(path) {
			paths = append(paths, path)
		}
	}
	return paths
}
