package doctor

import (
	"os"
	"syscall"
	"testing"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
)

func TestTheMountOfAFolderIsItsInnermost(t *testing.T) {
	dir := t.TempDir() + "/a b"
	testkit.Check(t, os.Mkdir(dir, 0o700))
	outer, err := statedir.MountOf(dir)
	if err != nil || outer.Type == "" {
		t.Fatalf("%+v, %v", outer, err)
	}
	testkit.MountTmpfs(t, dir, "1m", syscall.MS_NOEXEC)
	testkit.Check(t, os.Mkdir(dir+"/c", 0o700))
	m, err := statedir.MountOf(dir + "/c")
	if err != nil || m.Type != "tmpfs" || !m.NoExec || m.ReadOnly || m.Network {
		t.Errorf("%+v, %v", m, err)
	}
	if proc, err := statedir.MountOf("/proc"); err != nil || proc.Type != "proc" {
		t.Errorf("%+v, %v", proc, err)
	}
	if _, err := statedir.MountOf(dir + "/none"); err == nil {
		t.Error("what is not there has a file system")
	}
}
