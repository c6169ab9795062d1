package rpc

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is that of all that is made from this source: the programs, and the packages for pip and npm. It stands here
// and not in a tag, so that a clone, a copy without git and a release agree. packaging/ names the other files that
// have it, and holds them to one another.
const version = "0.1.0"

// Version is the version of the programs and of the clients that belong to them.
func Version() string { return version }

// VersionLine is what a program answers to --version. The second word is the version.
func VersionLine(program string) string {
	commit := ""
	if c, changed := Commit(); c != "" {
		commit = "commit " + c + ", "
		if changed {
			commit = "commit " + c + " with changes, "
		}
	}
	return fmt.Sprintf("%s %s (protocol %d, %s%s, %s/%s)", program, version, Protocol, commit, runtime.Version(),
		runtime.GOOS, runtime.GOARCH)
}

// Commit is what the program was built from, and whether that was changed; empty if the build does not say.
func Commit() (commit string, changed bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = true
		}
	}
	return commit, changed
}
