package statedir

import (
	"os"
	"path/filepath"
	"time"

	"runtimed/internal/safefile"
)

// purgePatience is how long a purge waits for a daemon that is ending.
const purgePatience = time.Second

// Purged is what a purge found, or removed.
type Purged struct {
	Places []string // the folders
	Paths  []string // what would be removed
	Stays  []Stays
}

// Purge removes what the daemon keeps in its folders. envs removes the environments, or with dry returns their paths;
// its error ends the purge. dry changes nothing and takes no locks. check, under the locks, only asks envs.
func Purge(at Paths, dry, check bool, envs func(dry bool) ([]string, []Stays, error)) (p Purged, err error) {
	if p.Places = at.Folders(); len(p.Places) == 0 {
		return p, nil
	}
	if err := at.Check(); err != nil {
		return p, err
	}
	var l *Locks
	if !dry {
		if l, err = HoldLocks(at, purgePatience); err != nil {
			return p, err
		}
		defer l.Free()
		if !check {
			l.Name() // so that whoever starts a daemon meanwhile is told
		}
	}
	if p.Paths, p.Stays, err = envs(dry || check); err != nil || check {
		p.Paths = nil
		return p, err
	}
	files := map[string][]string{at.State: kept(RealPath(at.State), at.usual(at.State))}
	for _, dir := range p.Places {
		files[dir] = append(files[dir], beside(RealPath(dir), at.usual(dir))...)
	}
	if dry {
		p.list(at, files)
	} else {
		p.remove(at, files, l)
	}
	return p, nil
}

// Folders returns the folders that exist, that of the environments first.
func (p Paths) Folders() (dirs []string) {
	for _, dir := range []string{p.State, p.Folder} {
		if safefile.Exists(dir) && (len(dirs) == 0 || dirs[0] != dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// list adds what remove would remove.
func (p *Purged) list(at Paths, files map[string][]string) {
	for _, dir := range p.Places {
		p.Paths = append(p.Paths, files[dir]...)
	}
	for _, dir := range p.Places {
		if path := filepath.Join(dir, LockName); isLockFile(path) {
			p.Paths = append(p.Paths, path)
		}
		if at.usual(dir) {
			p.Paths = append(p.Paths, dir)
		}
	}
}

func (p *Purged) remove(at Paths, files map[string][]string, l *Locks) {
	for _, dir := range p.Places {
		p.Stays = append(p.Stays, RemoveAll(RealPath(dir), files[dir])...)
	}
	for _, s := range RemoveEmpty(RealPath(at.State), emptied(RealPath(at.State))) {
		if filepath.Base(s.Path) != "empty" { // the user may have a folder of that name
			p.Stays = append(p.Stays, s)
		}
	}
	if SocketIsFile && SocketIsDead(at.Socket) {
		_ = os.Remove(at.Socket) // if it stays, its folder stays too and is reported
	}
	if !foldersLock {
		l.Free() // else our own lock could not be removed, as that of a daemon that starts now cannot
	}
	for _, dir := range p.Places { // last: a daemon that starts now begins anew
		if path := filepath.Join(dir, LockName); isLockFile(path) || at.usual(dir) {
			_ = os.Remove(path)
		}
	}
	inner := p.Places
	if len(inner) == 2 && len(inner[1]) > len(inner[0]) { // one may be inside the other
		inner = []string{inner[1], inner[0]}
	}
	for _, dir := range inner {
		p.Stays = append(p.Stays, removePlace(dir)...)
	}
}

// usual reports whether dir is the default by our own rule, and not by a variable: nobody else keeps anything there.
func (p Paths) usual(dir string) bool {
	parent := filepath.Base(filepath.Dir(dir))
	return dir == p.Own && (parent == ".cache" || parent == "Caches" || dir == LocalDir() || !SocketIsFile)
}

// removePlace removes an empty state or socket folder, and the link to it.
func removePlace(dir string) []Stays {
	to := RealPath(dir)
	if to == RealPath(os.Getenv("HOME")) {
		return nil // it may contain a socket
	}
	if stays := RemoveEmpty(to, []string{to}); len(stays) > 0 {
		return []Stays{{Path: dir, Why: stays[0].Why}}
	}
	if to != dir {
		if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
			_ = os.Remove(dir) // a link or a junction, which leads nowhere now
		}
	}
	return nil
}
