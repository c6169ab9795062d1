package rpc

import (
	"fmt"
	"os"
	"runtime"

	"runtimed/internal/statedir"
)

// Paths are where a daemon of this environment keeps its things. socket and cacheDir are those of its configuration;
// where they are empty, the usual ones count.
func Paths(socket, cacheDir string) (p statedir.Paths, err error) {
	if socket != "" {
		err = CheckSocketPath(runtime.GOOS, socket)
	} else {
		socket, err = SocketPath(runtime.GOOS, os.Getenv)
	}
	p.Socket = socket
	if err != nil {
		return p, err
	}
	p.Own, err = StateDir(runtime.GOOS, os.Getenv)
	p.Folder, p.State = statedir.FolderOf(socket, p.Own), cacheDir
	switch {
	case p.Folder == "":
		return p, err
	case cacheDir != "":
	case err != nil:
		return p, fmt.Errorf("there is no place for environments: %w, and RUNTIMED_CACHE_DIR or cache_dir in the "+
			"configuration", err)
	default:
		p.State = p.Own
	}
	return p, nil
}
