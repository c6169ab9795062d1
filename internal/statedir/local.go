package statedir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"runtimed/internal/safefile"
)

// networkTypes are file systems that several machines see at once, by the kernel's names. docs/protocol.md has the
// list, since clients in every language go by it.
var networkTypes = strings.Fields("nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre gpfs beegfs gfs2 ocfs2 orangefs " +
	"panfs wekafs fuse.sshfs fuse.glusterfs fuse.ceph fuse.ceph-fuse fuse.s3fs fuse.gcsfuse fuse.rclone " +
	"fuse.juicefs fuse.mfs")

const varTmp = "/var/tmp"

// LocalDir is this user's folder on the machine's own disk.
func LocalDir() string { return varTmp + "/runt-" + strconv.Itoa(os.Geteuid()) }

// Local returns dir, or LocalDir if dir is on a network file system and /var/tmp is fit and on none, as the file
// mountinfo says; empty is the system's. docs/protocol.md has the rule.
func Local(dir, mountinfo string) string {
	if mountinfo != "" {
		return local(dir, mountinfo)
	}
	asked.Lock()
	defer asked.Unlock()
	if _, ok := asked.places[dir]; !ok {
		asked.places[dir] = local(dir, mountInfo)
	}
	return asked.places[dir]
}

// asked is what the mounts said when this process first asked. Some machines have thousands, and a place must not
// change under a command.
var asked = struct {
	sync.Mutex
	places map[string]string
}{places: map[string]string{}}

func local(dir, mountinfo string) string {
	info, err := os.Stat(varTmp)
	if NetworkOf(dir, mountinfo) == "" || err != nil || !info.IsDir() || info.Mode()&fs.ModeSticky == 0 ||
		Writable(varTmp) != nil {
		return dir
	}
	m := mountAt(varTmp, mountinfo)
	if slices.Contains(networkTypes, m.Type) || slices.Contains(strings.Split(m.Options, ","), "noexec") {
		return dir
	}
	return LocalDir()
}

// NetworkOf is the type of the network file system that dir or the nearest existing folder above it is on; empty if it
// is on another, or nothing tells.
func NetworkOf(dir, mountinfo string) string {
	if m := mountAt(dir, mountinfo); slices.Contains(networkTypes, m.Type) {
		return m.Type
	}
	return ""
}

// mountAt is the mount that dir or the nearest existing folder above it is on.
func mountAt(dir, mountinfo string) MountLine {
	for volume := filepath.VolumeName(dir); !safefile.Exists(dir); { // not Standing: what .. means depends on links
		below := dir[len(volume):]
		end := strings.LastIndexFunc(below, func(c rune) bool { return c < 128 && os.IsPathSeparator(byte(c)) })
		if end <= 0 {
			dir = volume + below[:end+1] // its root; empty: the working folder
			break
		}
		dir = volume + below[:end]
	}
	real := RealPath(cmp.Or(dir, ".")) // first: looking has an automounter mount it
	if mountinfo == "" {
		mountinfo = mountInfo
	}
	lines, _ := readMounts(mountinfo) // an error counts as none
	return innermost(lines, real)
}

// CheckLocal refuses what somebody else may have put at LocalDir, since everybody may write to /var/tmp. Nothing is
// fine, and once the folder is ours nobody can exchange it.
func CheckLocal(dir string) error {
	info, err := os.Lstat(dir)
	if dir != LocalDir() || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	const remedy = ": have it removed, or set RUNTIMED_SOCKET"
	if err != nil {
		return err
	}
	switch uid, _ := OwnerUID(info); {
	case uid != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d, and this is uid %d"+remedy, dir, uid, os.Geteuid())
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder"+remedy, dir)
	case isOpen(info):
		return fmt.Errorf("the folder %s is open to others (mode %04o): run chmod 700 on it, or set RUNTIMED_SOCKET",
			dir, info.Mode().Perm())
	}
	return nil
}
