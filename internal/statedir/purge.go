package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/statedir"
	"runtimed/pool"
	"runtimed/rpc"
)

// purgeCommand is the part of `runt service uninstall --purge` that needs the daemon's rules and locks, and runt has
// none of them.
type purgeCommand struct {
	DryRun bool `help:"Print what would be removed, and change nothing."`
	Check  bool `help:"Only see whether an environment is in use."`
}

// AfterApply is called by kong where this command was given.
func (c purgeCommand) AfterApply(k *kong.Kong) error {
	k.Exit(c.run(k.Stdout))
	return nil
}

func (c purgeCommand) run(stdout io.Writer) int {
	said, err := c.purge()
	var held *heldError
	var used *pool.InUseError
	switch {
	case errors.As(err, &held):
		said.Held = true
	case errors.As(err, &used):
		said.InUse = true
	}
	if err != nil {
		said.Error = err.Error()
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	if enc.Encode(said) != nil || err != nil {
		return exitUseless
	}
	return exitStopped
}

func (c purgeCommand) purge() (said rpc.Purged, err error) {
	if err := statedir.CheckHome(os.Getenv("HOME")); err != nil {
		return said, err
	}
	cfg, err := config.Load(config.Flags{}, os.Getenv)
	if err != nil {
		return said, err
	}
	at, err := places(cfg)
	if err != nil {
		return said, err
	}
	for _, dir := range []string{at.state, at.folder} {
		if isThere(dir) && (len(said.Places) == 0 || said.Places[0] != dir) {
			said.Places = append(said.Places, dir)
		}
	}
	if len(said.Places) == 0 {
		return said, nil
	}
	if err := at.check(); err != nil {
		return said, err
	}
	if !c.DryRun {
		l := newLocks(at)
		l.patience = time.Second
		defer l.free()
		if err := l.hold(); err != nil {
			return said, err
		}
		if !c.Check {
			l.name() // who starts a daemon meanwhile is told
		}
	}
	if said.Paths, said.Stays, err = pool.Purge(at.state, c.DryRun || c.Check, zap.NewNop()); err != nil || c.Check {
		said.Paths = nil
		return said, err
	}
	files := map[string][]string{at.state: statedir.Kept(realPath(at.state), at.usual(at.state))}
	for _, dir := range said.Places {
		files[dir] = append(files[dir], statedir.Beside(realPath(dir), at.usual(dir))...)
	}
	if c.DryRun {
		for _, dir := range said.Places {
			said.Paths = append(said.Paths, files[dir]...)
		}
		for _, dir := range said.Places {
			if path := filepath.Join(dir, statedir.LockName); statedir.IsLockFile(path) {
				said.Paths = append(said.Paths, path)
			}
			if at.usual(dir) {
				said.Paths = append(said.Paths, dir)
			}
		}
		return said, nil
	}
	for _, dir := range said.Places {
		said.Stays = append(said.Stays, statedir.RemoveAll(realPath(dir), files[dir])...)
	}
	for _, s := range statedir.RemoveEmpty(realPath(at.state), statedir.Emptied(realPath(at.state))) {
		if filepath.Base(s.Path) != "empty" { // a folder of the user's may have that name
			said.Stays = append(said.Stays, s)
		}
	}
	if socketIsFile && whyUnreachable(at.socket) == meetDead {
		if info, err := os.Lstat(at.socket); err == nil && info.Mode().Type() == fs.ModeSocket {
			_ = os.Remove(at.socket) // if it stays, so does its folder, and that is said
		}
	}
	for _, dir := range said.Places { // last of all: who comes now begins anew
		if path := filepath.Join(dir, statedir.LockName); statedir.IsLockFile(path) || at.usual(dir) {
			_ = os.Remove(path)
		}
	}
	inner := said.Places
	if len(inner) == 2 && len(inner[1]) > len(inner[0]) { // one may lie in the other
		inner = []string{inner[1], inner[0]}
	}
	for _, dir := range inner {
		said.Stays = append(said.Stays, removePlace(dir)...)
	}
	return said, nil
}

// usual says whether dir is our own by our own rule, and no folder that a variable happens to name so: nobody else
// keeps anything in it.
func (p paths) usual(dir string) bool {
	parent := filepath.Base(filepath.Dir(dir))
	return dir == p.own && (parent == ".cache" || parent == "Caches" || !socketIsFile)
}

// realPath is dir with its links resolved; what cannot be resolved stays as it is.
func realPath(dir string) string {
	if to, err := filepath.EvalSymlinks(dir); err == nil {
		return to
	}
	return dir
}

// removePlace removes a state or socket folder that is empty by now, and the link to it.
func removePlace(dir string) []statedir.Stays {
	to := realPath(dir)
	if to == realPath(os.Getenv("HOME")) {
		return nil // a socket may lie there
	}
	if stays := statedir.RemoveEmpty(to, []string{to}); len(stays) > 0 {
		return []statedir.Stays{{Path: dir, Why: stays[0].Why}}
	}
	if to != dir {
		if info, err := os.Lstat(dir); err == nil && info.Mode().Type() == fs.ModeSymlink {
			_ = os.Remove(dir) // it leads nowhere now
		}
	}
	return nil
}
