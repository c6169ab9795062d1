package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"runtimed/internal/statedir"
)

// person is whose service it is, and how the manager is asked.
type person struct {
	env func(string) string
	uid int
	run Runner
}

// Lacks and Said are for managers that do not tell.
func (person) Lacks(context.Context) []string { return nil }

func (person) Said(context.Context, time.Time) string { return "" }

// homeIsOurs detects sudo and su, which would write files into another's home, where no manager reads them.
func (u person) homeIsOurs() error {
	if !filepath.IsAbs(u.env("HOME")) {
		return &Problem{Message: "HOME is not set, so there is no place for the service's files",
			Hint: "log in as the user whose service it shall be"}
	}
	return u.folderIsOurs("HOME")
}

func (u person) folderIsOurs(variable string) error {
	path := u.env(variable)
	if owner, known := ownerOf(path); known && owner != u.uid {
		message := fmt.Sprintf("%s is %s, which belongs to uid %d, and this is uid %d", variable, path, owner, u.uid)
		return &Problem{Message: message, Hint: u.asOneself()}
	}
	return nil
}

func ownerOf(path string) (uid int, known bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	return statedir.OwnerUID(info)
}

// probe runs a command of the manager that only reads. failed begins the message of its error.
func (u person) probe(ctx context.Context, failed string, argv ...string) (Output, error) {
	out, err := u.run.Run(ctx, argv...)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		err = &Problem{Message: "there is no " + argv[0] + " on PATH", Hint: withoutService}
	case err != nil:
		err = &Problem{Message: failed + ": " + err.Error(), Hint: withoutService}
	}
	return out, err
}

func (u person) asOneself() string {
	if name := u.env("SUDO_USER"); name != "" {
		return "the service is a user's own: run it as " + name +
			", without sudo; for another user, log in as that user"
	}
	return "the service is a user's own: log in as that user, at the console or by ssh, not by su"
}
