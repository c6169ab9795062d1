//go:build e2e

package conda

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestTheNextCondaEnvironmentCompilesNothing(t *testing.T) {
	r := realRattler(t)
	sp := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"},
		Channels: []string{"file://" + channelDir(t)}}
	build := func(id string) map[string]string {
		began := time.Now()
		if _, err := r.c.Build(t.Context(), sp, r.Env(id), func(builder.Stage) {}); err != nil {
			t.Fatalf("%+v", err)
		}
		t.Logf("%s in %s", id, time.Since(began).Round(time.Millisecond))
		pycs := map[string]string{}
		testkit.Check(t, filepath.WalkDir(filepath.Join(r.Env(id), "lib"),
			func(path string, _ fs.DirEntry, err error) error {
				if err != nil || !strings.HasSuffix(path, ".pyc") || !strings.Contains(path, "/site-packages/") {
					return err
				}
				data, err := os.ReadFile(path)
				pycs[strings.TrimPrefix(path, r.Env(id))] = string(data)
				return err
			}))
		return pycs
	}
	first, second := build("conda-00000001"), build("conda-00000002")
	if len(second) < 300 || !maps.Equal(first, second) { // what is compiled has the environment's path in it
		t.Errorf("of %d .pyc files, and then %d, some differ", len(first), len(second))
	}
	entry, err := filepath.Glob(filepath.Join(r.c.dir, "tools/compiled/*-rattler.lock/*"))
	if err != nil || len(entry) < 150 {
		t.Errorf("only %d are kept, %v", len(entry), err)
	}
}
