package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// paths are where this daemon keeps its things.
type paths struct {
	socket string
	folder string // of the socket, with the lock, daemon.json and the log beside it, where clients can find them
	// environments, lock files and tools; the same folder unless cache_dir or RUNTIMED_SOCKET say otherwise
	state string
	own   string // the state directory by our own rule, whose rights we may put right; empty where HOME does not tell
}

func places(cfg *config.Config) (paths, error) {
	var p paths
	var err error
	if cfg.Socket != "" {
		p.socket, err = cfg.Socket, rpc.CheckSocketPath(runtime.GOOS, cfg.Socket)
	} else {
		p.socket, err = rpc.SocketPath(runtime.GOOS, os.Getenv)
	}
	if err != nil {
		return p, err
	}
	own, err := rpc.StateDir(runtime.GOOS, os.Getenv)
	p.own, p.folder = own, besideSocket(p.socket, own)
	switch {
	case p.folder == "":
		return p, err
	case cfg.CacheDir != "":
		p.state = cfg.CacheDir
	case err != nil:
		return p, fmt.Errorf("there is no place for environments: %w, or cache_dir in the configuration", err)
	default:
		p.state = own
	}
	return p, nil
}

func (p paths) lock() string       { return filepath.Join(p.folder, statedir.LockName) }
func (p paths) statusFile() string { return filepath.Join(p.folder, statedir.StatusName) }
func (p paths) log() string        { return filepath.Join(p.folder, statedir.LogName) }

// check refuses a folder that is another's, or was configured and is open to others; it touches nothing. One that is
// not there yet is fine, unless root would make it in a user's folder.
func (p paths) check() error {
	for _, dir := range []string{p.folder, p.state} {
		if err := statedir.CheckPlace(dir); err != nil {
			return err
		}
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at the state directory: %w", err)
		}
		switch open, ours := rights(info); {
		case statedir.IsLent(info):
		case open && (!ours || info.Mode()&fs.ModeSticky != 0): // a shared folder like /tmp: closing it would break the machine
			return fmt.Errorf("the folder %s is for others too: name one of your own, with mode 0700, in its place",
				dir)
		case !ours:
			uid, _ := statedir.OwnerUID(info) // where users have no numbers, all is ours
			return &statedir.OwnerError{What: "the folder " + dir, UID: uid, Own: os.Geteuid()}
		case !open || dir == p.own:
		default:
			return fmt.Errorf("the folder %s is open to others (mode %04o): run chmod 700 on it, or name another", dir,
				info.Mode().Perm())
		}
	}
	return nil
}

// prepare makes the folders, for their owner alone, and puts the rights of our own default right.
func (p paths) prepare(log *zap.Logger) error {
	for _, dir := range []string{p.folder, p.state} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("looking at the state directory: %w", err)
		}
		if open, ours := rights(info); open && ours && dir == p.own {
			if err := os.Chmod(dir, 0o700); err != nil {
				return fmt.Errorf("closing the state directory to others: %w", err)
			}
			log.Info("the state directory was open to others and is closed now", zap.String("dir", dir),
				zap.Stringer("mode_was", info.Mode().Perm()))
		}
		if err := writable(dir); err != nil {
			return fmt.Errorf("the state directory %s cannot be written: %w", dir, errors.Unwrap(err))
		}
	}
	return nil
}

// writable tries: rights alone do not tell of a read-only file system.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-")
	if isFull(err) {
		return nil // what is ready can be leased, and builds say what they lack
	}
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return path
		}
		return fmt.Errorf("writing: %w", err)
	}
	_ = f.Close()
	return os.Remove(f.Name())
}
