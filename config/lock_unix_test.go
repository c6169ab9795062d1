//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestALockFileMayBeALinkAndSomebodyElsesButNothingThatBlocks(t *testing.T) {
	dir := t.TempDir()
	theirs, link, pipe := filepath.Join(dir, "theirs"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(theirs, []byte(lockedKernel), 0o644), os.Symlink(theirs, link),
		syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(theirs, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for path, says := range map[string]string{
		link: "", pipe: "is a named pipe, not a file", "/dev/zero": "is a device, not a file", dir: "is a folder",
	} {
		_, err := pinnedTo(t, "", "[pools.b]\nkind = \"uv\"\nlock = \""+path+"\"\n")
		if err == nil || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "pools.b.lock") != (says != "") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
