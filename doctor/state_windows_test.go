package doctor

import (
	"strings"
	"testing"

	"runtimed/internal/statedir"
	"runtimed/rpc"
)

func TestAStateDirectoryThatIsTooLongIsTold(t *testing.T) {
	for n, want := range map[int]string{40: rpc.CheckOK, 150: rpc.CheckWarning, 191: rpc.CheckProblem} {
		dir := `C:\` + strings.Repeat("x", n-3)
		if want == rpc.CheckWarning && !statedir.IsCramped(dir) {
			want = rpc.CheckOK // long paths are turned on
		}
		found := checkStateDirectory(t.Context(), &Env{at: statedir.Paths{State: dir, Folder: dir}})
		if got := found.worst(); got.Status != want || want != rpc.CheckOK && !strings.Contains(got.Hint, "cache_dir") {
			t.Errorf("%d characters: %+v", n, got)
		}
	}
}
