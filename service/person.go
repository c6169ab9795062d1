package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
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
	home := u.env("HOME")
	if !filepath.IsAbs(home) {
		return &Problem{Message: "HOME is not set, so there is no place for the service's files",
			Hint: "log in as the user whose service it shall be"}
	}
	info, err := os.Stat(home)
	if err != nil {
		return nil
	}
	if owner := ownerOf(info); owner >= 0 && owner != u.uid {
		message := fmt.Sprintf("HOME is %s, which belongs to uid %d, and this is uid %d", home, owner, u.uid)
		return &Problem{Message: message, Hint: u.asOneself()}
	}
	return nil
}

func (u person) asOneself() string {
	if name := u.env("SUDO_USER"); name != "" {
		return "the service is a user's own: run it as " + name +
			", without sudo; for another user, log in as that user"
	}
	return "the service is a user's own: log in as that user, at the console or by ssh, not by su"
}
