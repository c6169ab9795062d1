package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestAHintDoesNotWaitForAManagerThatHangs(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("systemd does not run here, so it is not asked")
	}
	dir := t.TempDir()
	units, socket := filepath.Join(dir, ".config/systemd/user"), filepath.Join(dir, "s")
	testkit.Check(t, os.MkdirAll(units, 0o700))
	unit := []byte("[Socket]\nListenStream=" + socket + "\n")
	testkit.Check(t, os.WriteFile(filepath.Join(units, "runtimed.socket"), unit, 0o600))
	ln, err := net.Listen("unix", filepath.Join(dir, "bus"))
	testkit.Check(t, err)
	defer ln.Close()
	asked := filepath.Join(dir, "asked")
	testkit.WriteProgram(t, filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\ntouch '"+asked+"'\nexec sleep 60\n"))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	env := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": dir, "RUNTIMED_SOCKET": socket}
	began := time.Now()
	d := &Control{Ctx: context.Background(), Env: func(name string) string { return env[name] }}
	if hint := d.HowToStart(); hint != rpc.StartHint || time.Since(began) > 30*time.Second {
		t.Errorf("after %s: %s", time.Since(began), hint)
	}
	if _, err := os.Stat(asked); err != nil {
		t.Error("the manager was not asked")
	}
}
