//go:build unix

package statedir

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// getents are the places of getent. There may be no PATH, and some containers lack the program.
var getents = []string{"/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"}

const getentTime = 2 * time.Second // a directory service may be slow, and every command waits

// userHome is the home of the effective user in the user database; empty if it has none.
func userHome() string {
	uid := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(uid); err == nil {
		return u.HomeDir
	}
	return askGetent(uid)
}

// askGetent asks the whole user database: without cgo Go reads only /etc/passwd.
func askGetent(uid string) string {
	ctx, cancel := context.WithTimeout(context.Background(), getentTime)
	defer cancel()
	for _, program := range getents {
		cmd := exec.CommandContext(ctx, program, "passwd", uid)
		cmd.WaitDelay = time.Second / 10
		line, err := cmd.Output()
		if err != nil {
			continue
		}
		if fields := strings.Split(strings.TrimRight(string(line), "\n"), ":"); len(fields) == 7 && fields[2] != "" {
			return fields[5]
		}
	}
	return ""
}
