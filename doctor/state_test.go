package doctor

import (
	"testing"

	"runtimed/config"
	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestWithoutAStateDirectoryNothingInItIsSaidToBeOK(t *testing.T) {
	t.Chdir(t.TempDir()) // where an empty path might lead
	home := t.TempDir()
	cfg, err := config.Load(config.Flags{}, func(name string) string {
		return map[string]string{"HOME": home, "APPDATA": home}[name]
	})
	testkit.Check(t, err)
	seen := 0
	for _, c := range Checks {
		switch c.Name {
		case "disk-space", "inodes", "file-system", "noexec", "links", "strays", "leftovers":
			seen++
			if found := c.Run(t.Context(), &Env{cfg: cfg}); found.worst().Status != rpc.CheckSkipped {
				t.Errorf("%s: %+v", c.Name, found)
			}
		}
	}
	if seen != 7 {
		t.Errorf("%d of 7 checks are there", seen)
	}
}
