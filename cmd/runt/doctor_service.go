package main

import (
	"context"

	"runtimed/internal/failure"
	"runtimed/rpc"
	"runtimed/service"
)

type serviceStatus = service.Status

// lookService asks the service manager first: where it listens for a daemon that does not run, to connect would start it.
func (a *app) lookService(ctx context.Context) (finding, serviceStatus) {
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	const name, install = "service", "runt service install has the daemon start at login"
	s, err := a.LookUpService()
	if err != nil {
		return found(name, rpc.CheckOK, "none: %s", failure.Of(err).Message), serviceStatus{}
	}
	st, err := s.Status(ctx, s.Config)
	switch {
	case err != nil:
		return foundFailure(name, rpc.CheckWarning, err), st
	case !st.Installed:
		return found(name, rpc.CheckOK, "not installed; "+install), st
	case st.Trouble != nil:
		return found(name, rpc.CheckWarning, "installed, and its manager cannot be used from here: %s", st.Trouble.Message).
			next(st.Trouble.Hint), st
	case !st.Enabled || !st.UpToDate:
		if _, err := s.Install(ctx, s.Config); err != nil { // as where somebody else wrote its files
			return foundFailure(name, rpc.CheckWarning, err), st
		}
	}
	switch {
	case !st.Enabled:
		return found(name, rpc.CheckWarning, "installed, and not enabled: nothing starts the daemon at login").
			next("runt service install enables it"), st
	case !st.UpToDate:
		return found(name, rpc.CheckWarning, "installed, and its files are not what this runt and this shell would write").
			next("runt service install --dry-run shows them, runt service install writes them"), st
	}
	text := "installed and enabled, up to date"
	if st.OnDemand {
		text += "; the daemon starts when somebody first asks"
	}
	if st.Linger != nil && !*st.Linger {
		text += "; it ends when you log out for good (loginctl enable-linger keeps it)"
	}
	return found(name, rpc.CheckOK, "%s", text), st
}
