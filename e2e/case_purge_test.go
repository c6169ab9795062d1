//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"runtimed/rpc"
)

// purge runs the daemon's own part of `runt service uninstall --purge`.
func (h *house) purge(args ...string) (said rpc.Purged) {
	h.t.Helper()
	cmd := exec.Command(daemonProgram, append([]string{"purge"}, args...)...)
	cmd.Env, cmd.Dir = h.env, h.home
	out, _ := cmd.Output() // what it says has the error
	if err := json.Unmarshal(out, &said); err != nil {
		h.t.Fatalf("%q: %v", out, err)
	}
	return said
}

func TestAPurgeRemovesNothingThatADaemonOrAnybodyUses(t *testing.T) {
	t.Parallel()
	h := patient(t)
	d := h.start()
	h.filled("uv", time.Minute)
	if said := h.purge(); !said.Held || len(h.folders()) == 0 {
		t.Errorf("beside a daemon: %+v, %v", said, h.folders())
	}
	owner := exec.Command("sleep", "300")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = errors.Join(owner.Process.Kill(), owner.Wait()) }
	defer end()
	id := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.Process.Pid), WaitMS: new(int64(60000))}).Env.ID
	d.kill()
	for _, args := range [][]string{{"--check"}, {"--dry-run"}, {}} {
		said := h.purge(args...)
		if !said.InUse || !isThere(h.state("envs", id, "runtimed.json")) {
			t.Errorf("%q while it is leased: %+v", args, said)
		}
	}
	end()

	// As a purge leaves it that was killed: in the trash, without its manifest.
	if err := errors.Join(os.Remove(h.state("envs", id, "runtimed.json")),
		os.Rename(h.state("envs", id), h.state("envs", ".trash", id))); err != nil {
		t.Fatal(err)
	}
	if said := h.purge(); said.Error != "" || len(said.Stays) > 0 || isThere(h.state()) {
		left, _ := filepath.Glob(h.state("*", "*"))
		t.Errorf("%+v; left are %v", said, left)
	}
	if said := h.purge(); said.Error != "" || len(said.Places) > 0 || isThere(h.state()) {
		t.Errorf("where nothing is: %+v", said)
	}
}

func TestADaemonThatStartsDuringAPurgeFindsAWholeStateDirectory(t *testing.T) {
	t.Parallel()
	h := patient(t)
	d := h.start()
	h.filled("uv", time.Minute)
	d.kill()
	done := make(chan rpc.Purged)
	go func() { done <- h.purge() }()
	for range 3 {
		_ = h.launch() // one of them may lose against the purge
		time.Sleep(20 * time.Millisecond)
	}
	<-done
	h.eventually(30*time.Second, "a daemon answers", func() bool {
		if _, err := ask[rpc.None](h, rpc.MethodPing, nil); err == nil {
			return true
		}
		_ = h.launch()
		time.Sleep(time.Second)
		return false
	})
	h.filled("uv", time.Minute)
}
