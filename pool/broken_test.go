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

	"runtimed/internal/testkit"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const panicsUnderLock = "RUNTIMED_TEST_PANICS_UNDER_LOCK"

func TestAPanicUnderTheLockEndsTheProgramThoughTheCallerRecovers(t *testing.T) {
	if os.Getenv(panicsUnderLock) != "" {
		core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			zapcore.AddSync(new(bytes.Buffer)), zap.DebugLevel)
		log := zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
			if e.Message == "environment moves" { // as move says it, under the lock
				panic("a broken invariant")
			}
			return nil
		}))
		m, err := New(Config{Dir: t.TempDir()}, nil, log)
		testkit.Check(t, err)
		close(m.opened)
		e := m.newEnv("uv-00000000", purpose{pool: "uv"})
		e.state, m.envs[e.id] = Ready, e
		defer func() { _ = recover() }() // as the server does
		_, _ = m.Flush(context.Background(), "")
		return
	}
	self, err := os.Executable()
	testkit.Check(t, err)
	cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), panicsUnderLock+"=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte("panic: a broken invariant")) ||
		!bytes.Contains(out, []byte("(*Manager).Flush")) {
		t.Errorf("%v: %s", err, out)
	}
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
