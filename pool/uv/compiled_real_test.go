//go:build e2e

package uv

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// asksItself says where the code of a loaded module says that it is from, nested functions included, and what a
// traceback says.
const asksItself = `
import inspect, traceback, types
import traitlets
def names(code):
    yield code.co_filename
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from names(const)
classes = [c for c in vars(traitlets.traitlets).values() if isinstance(c, type)]
classes = [c for c in classes if c.__module__ == "traitlets.traitlets"]
functions = [inspect.unwrap(f) for c in classes for f in vars(c).values() if isinstance(f, types.FunctionType)]
print(len(functions) > 100)
print(*{n for f in functions for n in names(f.__code__)})
try:
    traitlets.HasTraits().trait_metadata("x", "y")
except traitlets.TraitError as err:
    print(traceback.extract_tb(err.__traceback__)[-1].filename)
`

// TestTheNextRealEnvironmentCompilesNothing needs what TestRealEnvironments needs.
func TestTheNextRealEnvironmentCompilesNothing(t *testing.T) {
	for name, cfg := range map[string]Config{"with links": {}, "with copies": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			u := realUV(t)
			u.Configure(cfg)
			sp := wanting("ipykernel", "pip")
			build := func(id string) (string, builder.Built) {
				dir := filepath.Join(u.Dir, "envs", id)
				began := time.Now()
				built, err := u.Build(t.Context(), sp, dir, func(builder.Stage) {})
				if err != nil {
					t.Fatalf("%+v", err)
				}
				t.Logf("%s in %s", id, time.Since(began).Round(time.Millisecond))
				return dir, built
			}
			first, _ := build("uv-00000001")
			time.Sleep(1100 * time.Millisecond) // a source that is copied now has another time, in seconds
			second, built := build("uv-00000002")
			was, is := bytecode(t, first), bytecode(t, second)
			if len(was) != len(is) || len(is) < 200 {
				t.Errorf("%d .pyc files, and %d", len(was), len(is))
			}
			for path := range is { // what is compiled has the environment's path in it
				data, err := os.ReadFile(path)
				before, errBefore := os.ReadFile(filepath.Join(first, strings.TrimPrefix(path, second)))
				testkit.Check(t, errors.Join(err, errBefore))
				if string(data) != string(before) {
					t.Errorf("%s was compiled anew", path)
				}
			}
			cmd := exec.CommandContext(t.Context(), built.Python, "-v", "-c",
				"import ipykernel_launcher, ipykernel.kernelapp, ipykernel.debugger, IPython.core.completerlib")
			said, err := cmd.CombinedOutput()
			testkit.Check(t, err)
			loaded := 0
			for line := range strings.Lines(string(said)) {
				if strings.HasPrefix(line, "# wrote ") || strings.HasPrefix(line, "# code object from "+second) {
					t.Error(line)
				}
				if strings.HasPrefix(line, "# code object from '"+second) {
					loaded++
				}
			}
			if loaded < 200 || !maps.Equal(is, bytecode(t, second)) {
				t.Errorf("%d modules were loaded, and %d .pyc files are there", loaded, len(bytecode(t, second)))
			}
			out, err := exec.CommandContext(t.Context(), built.Python, "-c", asksItself).CombinedOutput()
			sources, _ := filepath.Glob(filepath.Join(second, "lib/python*/site-packages/traitlets/traitlets.py"))
			if want := "True\n" + sources[0] + "\n" + sources[0] + "\n"; err != nil || string(out) != want {
				t.Errorf("%v: %s\nnot %s", err, out, want)
			}
		})
	}
}
