//go:build unix

package command

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestAFileWithoutAnEndOrAWriterIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	vast, pipe := filepath.Join(dir, "vast.py"), filepath.Join(dir, "pipe.py")
	testkit.Check(t, errors.Join(os.WriteFile(vast, nil, 0o600), os.Truncate(vast, 4<<30),
		syscall.Mkfifo(pipe, 0o600)))
	for what, try := range map[string]struct {
		path, says string
	}{
		"vast": {vast, "is larger than"}, "a pipe": {pipe, "is a named pipe, not a file"},
		"a device": {"/dev/zero", "is a device, not a file"},
		"a folder": {dir, "is a folder, not a file"},
	} {
		_, needs := readNeeds(try.path, nil, os.Getenv)
		for how, err := range map[string]error{"script": askScript(try.path, &rpc.AcquireParams{}),
			"requirements": needs} {
			if err == nil || !strings.Contains(err.Error(), try.says) && !(how == "requirements" && what == "vast") {
				t.Errorf("%s as a %s: %v", what, how, err)
			}
		}
	}
}

func TestRequirementsMayComeFromAPipeOfTheCallers(t *testing.T) {
	r, w, err := os.Pipe()
	testkit.Check(t, err)
	defer r.Close()
	if _, err := w.WriteString("rich\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	path := "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	if text, err := readNeeds(path, nil, os.Getenv); err != nil || text != "rich\n" {
		t.Errorf("%q, %v", text, err)
	}
}
