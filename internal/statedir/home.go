package statedir

import (
	"os"
	"strings"
)

// SetHome gives this process, and what it starts, HOME where it is unset or empty: units, cron and gateways start
// programs without it. Where the user database has no home either, nothing is set.
func SetHome() {
	set := os.Getenv("HOME")
	if home := Home(set, userHome); home != set {
		_ = os.Setenv("HOME", home) // it has no NUL, as C wrote it
	}
}

// NoHome says why there is no HOME even so.
const NoHome = "HOME is not set, and the user database has no home for this user"

// Home is the user's home by the rule of docs/protocol.md: the variable HOME, else what the user database says.
func Home(set string, database func() string) string {
	if set == "" {
		if home := database(); strings.HasPrefix(home, "/") {
			return home
		}
	}
	return set
}
