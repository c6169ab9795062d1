package pool

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

const panicsIn = "RUNTIMED_TEST_PANICS_IN"

// endsTheProgram has call panic in a process of its own, where somebody recovers, as the server does.
func endsTheProgram(t *testing.T, method string, call func(*Manager), hooks ...func(zapcore.Entry) error) {
	t.Helper()
	if in := os.Getenv(panicsIn); in != "" {
		if in != method {
			return
		}
		core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			zapcore.AddSync(new(bytes.Buffer)), zap.DebugLevel)
		cfg := sized(1)
		cfg.Dir = t.TempDir()
		m, err := New(cfg, nil, zap.New(core, zap.Hooks(hooks...)))
		testkit.Check(t, err)
		close(m.opened)
		defer func() { _ = recover() }()
		call(m)
		return
	}
	self, err := os.Executable()
	testkit.Check(t, err)
	cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$")
	dir := t.TempDir() // which outlasts the other's end
	cmd.Env = append(os.Environ(), panicsIn+"="+method, "TMPDIR="+dir, "TMP="+dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte("panic: a broken invariant")) ||
		!bytes.Contains(out, []byte("(*Manager)."+method)) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAPanicUnderTheLockEndsTheProgramThoughTheCallerRecovers(t *testing.T) {
	endsTheProgram(t, "Flush", func(m *Manager) {
		e := m.newEnv("uv-00000000", purpose{pool: "uv"})
		e.state, m.envs[e.id] = Ready, e
		_, _ = m.Flush(context.Background(), "")
	}, func(e zapcore.Entry) error {
		if e.Message == "environment moves" { // as moveLocked logs it, under the lock
			panic("a broken invariant")
		}
		return nil
	})
}

func TestAPanicOfACallThatHoldsAPlaceInLineOrALeaseRecordEndsTheProgramToo(t *testing.T) {
	endsTheProgram(t, "Acquire", func(m *Manager) {
		r := request(1, time.Hour)
		r.Progress = func(builder.Stage) { panic("a broken invariant") }
		_, _ = m.Acquire(context.Background(), r)
	})
	endsTheProgram(t, "Release", func(m *Manager) {
		e := m.newEnv("uv-00000000", purpose{pool: "uv"})
		e.state, e.tenancy.lease, m.envs[e.id] = Leased, &envdir.Lease{Owner: ownerNo(1)}, e
		m.procs.Look = func(proc.Owner) (proc.Sight, string) { panic("a broken invariant") }
		_ = m.Release(context.Background(), e.id)
	})
}

func TestTheLockIsTakenInOnePlaceThatEndsTheProgramWhereItPanics(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	testkit.Check(t, err)
	var places []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		testkit.Check(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(path, "_test.go") {
				continue
			}
			ends := false
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.DeferStmt:
					id, ok := n.Call.Fun.(*ast.Ident)
					ends = ends || ok && id.Name == "endOnPanic"
				case *ast.SelectorExpr:
					if mu, ok := n.X.(*ast.SelectorExpr); ok && mu.Sel.Name == "mu" && n.Sel.Name == "Lock" &&
						f.Recv != nil {
						if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok &&
							star.X.(*ast.Ident).Name == "Manager" {
							places = append(places, f.Name.Name)
						}
					}
				}
				return true
			})
			if slices.Contains(places, f.Name.Name) && !ends {
				t.Errorf("%s does not defer endOnPanic()", f.Name.Name)
			}
		}
	}
	if !slices.Equal(places, []string{"view"}) {
		t.Errorf("the lock is taken in %q", places)
	}
}
