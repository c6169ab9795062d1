package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"runtimed/config"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

// checkEnvironment reports why this shell may see another daemon.
func checkEnvironment(ctx context.Context, e *Env) Findings {
	found := append(checkHome(e), checkSameDaemon(ctx, e)...)
	if found != nil {
		return found
	}
	set := []string{"HOME is not set, and not needed"}
	if home := os.Getenv("HOME"); home != "" {
		set[0] = "HOME is " + home
	}
	// checkConfig shows the other variables
	for _, name := range []string{"RUNTIMED_SOCKET", "RUNTIMED_CONFIG", "RUNTIMED_CACHE_DIR"} {
		if value := os.Getenv(name); value != "" {
			set = append(set, name+"="+value)
		}
	}
	return fine("%s", strings.Join(set, "; "))
}

func checkHome(e *Env) Findings {
	home := os.Getenv("HOME")
	info, err := os.Stat(home)
	switch {
	case !statedir.SocketIsFile: // Windows
		return nil
	case home == "" && os.Getenv("RUNTIMED_SOCKET") != "" && e.cfg.CacheDir != "":
		return nil
	case home == "":
		return problem(statedir.NoHome).hint("set HOME")
	case !filepath.IsAbs(home):
		return problem("HOME is %q, which is not an absolute path", home).hint("set HOME")
	case err != nil:
		return problem("HOME is %s, which cannot be used: %v", home, errors.Unwrap(err)).
			hint("set HOME to a folder that is there")
	}
	uid, known := statedir.OwnerUID(info)
	if !known || uid == os.Geteuid() || statedir.IsLent(info) {
		return nil
	}
	say := warning
	if statedir.CheckHome(home) != nil {
		say = problem // no daemon starts
	}
	owner := statedir.OwnerError{What: fmt.Sprintf("HOME is %s, which", home), UID: uid, Own: os.Geteuid()}
	return say("%v", &owner).hint(owner.Hint())
}

// checkSameDaemon compares the answering daemon with this shell's settings.
func checkSameDaemon(ctx context.Context, e *Env) (found Findings) {
	info := e.peer.info
	if info == nil {
		if other, pid := otherDaemon(ctx, e); other != "" {
			return warning("RUNTIMED_SOCKET is %s, where no daemon answers, and one (pid %d) answers on %s",
				e.at.Socket, pid, other).hint("unset RUNTIMED_SOCKET, or set it for the daemon too")
		}
		return nil
	}
	const hint = "runt daemon restart keeps the daemon's; " +
		"to have this shell's: runt daemon stop, then runt daemon start"
	if file, _ := config.FilePath(config.Flags{}, os.Getenv); file != info.ConfigPath {
		found = warning("the daemon reads %s, and this shell %s", info.ConfigPath, file).hint(hint)
	}
	here := e.here.State
	if e.cfgErr == nil && here != info.StateDir && safefile.Exists(here) && !statedir.SamePlace(here, info.StateDir) {
		found = append(found, warning("the daemon keeps its environments in %s, and this shell says %s",
			info.StateDir, here).hint(hint)...)
	}
	return found
}

func checkConfig(_ context.Context, e *Env) Findings {
	if e.cfgErr != nil {
		return problem("%v", e.cfgErr).
			hint("correct it; runt config check says whether it is right then; " +
				"until then this list goes by the defaults")
	}
	found := fine("%s", e.cfg.Place())
	if e.cfg.System != "" {
		found = append(found, fine("%s", e.cfg.System)...)
	}
	for _, text := range e.cfg.Warnings {
		found = append(found, warning("%s", text).
			hint("correct the file that the warning begins with, or leave it to the administrator")...)
	}
	for _, s := range e.cfg.Settings() {
		if s.Origin == "default" && s.LimitedBy == "" {
			continue
		}
		origin := s.Origin
		if line, ok := strings.CutPrefix(origin, e.cfg.Path+":"); ok {
			origin = "line " + line
		}
		if s.LimitedBy != "" {
			origin += "; limited at " + s.LimitedBy
		}
		found = append(found, fine("%s = %s (%s)", s.Key, config.Literal(s.Value), origin)...)
	}
	return found
}
