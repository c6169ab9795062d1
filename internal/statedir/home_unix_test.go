//go:build unix

package statedir

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"runtimed/internal/safefile"
)

func TestTheUserDatabaseTellsTheHome(t *testing.T) {
	uid := strconv.Itoa(os.Getuid())
	me, err := user.LookupId(uid)
	if err != nil {
		t.Skipf("this user is in no database: %v", err)
	}
	if got := userHome(); got != me.HomeDir {
		t.Errorf("%q, not %q", got, me.HomeDir)
	}
	if !slices.ContainsFunc(getents, safefile.Exists) {
		t.Skip("there is no getent")
	}
	if got := askGetent(uid); got != me.HomeDir {
		t.Errorf("getent: %q, not %q", got, me.HomeDir)
	}
	if got := askGetent("4294967294"); got != "" {
		t.Errorf("a user that is not there has the home %q", got)
	}
}

func TestOnlyAWholeLineOfGetentTellsAHome(t *testing.T) {
	before := getents
	t.Cleanup(func() { getents = before })
	dir := t.TempDir()
	for says, want := range map[string]string{
		"":                                   "",
		"echo hello":                         "",
		"echo a:x:0:0:a:/part":               "",
		"echo a:x:0:0:a:/failed:/sh; exit 2": "",
		"echo a:x:0:0:a:/home/a:/sh":         "/home/a",
		"echo a:x:0:0:a:/home/a:":            "/home/a",
	} {
		program := filepath.Join(dir, "getent")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+says+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		getents = []string{filepath.Join(dir, "gone"), program}
		if got := askGetent("0"); got != want {
			t.Errorf("%q: %q", says, got)
		}
	}
}

func TestHomeThatIsSetIsNeverReplaced(t *testing.T) {
	asked := func() string { t.Error("the user database was asked"); return "/db" }
	for _, set := range []string{"/home/ada", "rel", "~"} {
		if got := Home(set, asked); got != set {
			t.Errorf("%q became %q", set, got)
		}
	}
}
