//go:build e2e && unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"runtimed/rpc"
)

func TestAProgramThatIsReplacedUnderTheDaemonIsNoticed(t *testing.T) {
	t.Parallel()
	put := func(path string) {
		t.Helper()
		if out, err := exec.Command("cp", daemonProgram, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	h := newHouse(t)
	h.configure(off)
	dir := filepath.Dir(h.home)
	old, link := filepath.Join(dir, "runtimed-1"), filepath.Join(dir, "runtimed")
	put(old)
	if err := os.Symlink("runtimed-1", link); err != nil {
		t.Fatal(err)
	}
	replaced := func() bool { return must[rpc.Info](h, rpc.MethodInfo, nil).Replaced }

	h.program = old
	d := h.start()
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.Program != old || info.Replaced || info.StartedBy != rpc.StartedByHand {
		t.Errorf("at first it says %+v", info)
	}
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	if replaced() {
		t.Error("a program that is gone counts as replaced")
	}
	put(old + ".new")
	if err := os.Rename(old+".new", old); err != nil {
		t.Fatal(err)
	}
	if !replaced() {
		t.Error("a program that was renamed into its place is not noticed")
	}
	d.stop()

	h.program = link
	h.start()
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.Program != link || info.Replaced {
		t.Errorf("by its link it says %+v", info)
	}
	put(filepath.Join(dir, "runtimed-2"))
	if err := os.Symlink("runtimed-2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	if !replaced() {
		t.Error("a link that was turned to another program is not noticed")
	}
}
