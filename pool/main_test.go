package pool

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

func TestMain(m *testing.M) {
	checks := "30" // the command line may ask for more
	if slowFiles {
		checks = "2"
	}
	_ = flag.Set("rapid.checks", checks)
	goleak.VerifyTestMain(m)
}

// slowFiles shortens what works with thousands of files: under Wine each takes ten times as long.
var slowFiles = runtime.GOOS == "windows" && os.Getenv("RUNTIMED_SOAK") == ""

// longHere ends a test that takes thousands of looks at files.
func longHere(t *testing.T) {
	t.Helper()
	if slowFiles {
		t.Skip("it takes minutes where files are slow; it runs with RUNTIMED_SOAK=1")
	}
}

var nop = zap.NewNop()

// fakeBuilder makes environments out of four small files, in as much (fake) time as it is told.
type fakeBuilder struct {
	mu      sync.Mutex
	takes   time.Duration
	fail    func(try int) error     // of the try with that number, from 1 on; nil: it succeeds
	hold    chan struct{}           // where set, builds stand still half way until it is closed
	hangs   func(builder.Spec) bool // where set, which builds never come to an end
	verify  error
	began   []time.Time
	running int
	most    int // builds side by side
	urgent  int // builds at the usual priority
	checked int
	renewed int

	resolves error // of Prepare
	prepared func()
	extends  error // of Extend
	extended int

	lock string // where set, what builds leave as their lock file

	noStandby error // why a standby's check fails
	standbys  []*fakeStandby
}

func (b *fakeBuilder) Build(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	b.mu.Lock()
	b.began = append(b.began, time.Now())
	if tool.IsUrgent(ctx) {
		b.urgent++
	}
	try, takes, hold, fail := len(b.began), b.takes, b.hold, b.fail
	if b.hangs != nil && b.hangs(spec) {
		hold = make(chan struct{})
	}
	b.running++
	b.most = max(b.most, b.running)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.running--
		b.mu.Unlock()
	}()
	progress(builder.Stage{Name: builder.StageInstalling, Message: "half way"})
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		return builder.Built{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = /nowhere\n"), 0o600); err != nil {
		return builder.Built{}, err
	}
	if takes > 0 { // a fake timer that is due at once upsets the race detector (go1.26)
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return builder.Built{}, ctx.Err()
		}
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return builder.Built{}, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(try); err != nil {
			return builder.Built{}, err
		}
	}
	for _, name := range []string{"bin/python", "kernel.py"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1\n"), 0o700); err != nil {
			return builder.Built{}, err
		}
	}
	hash := ""
	if b.lock != "" {
		hash = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(b.lock)))
		if err := os.WriteFile(filepath.Join(dir, builder.LockName), []byte(b.lock), 0o600); err != nil {
			return builder.Built{}, err
		}
	}
	progress(builder.Stage{Name: builder.StageVerifying, Message: "nearly there"})
	_ = b.stand(ctx, dir, true)
	return builder.Built{
		Python: filepath.Join(dir, "bin", "python"), PythonVersion: fakeVersion(spec),
		Packages:    []builder.Package{{Name: "ipykernel", Version: "7.4"}},
		Variables:   map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil},
		PathPrepend: []string{filepath.Join(dir, "bin")},
		Sentinels:   []string{"bin/python", "pyvenv.cfg", "kernel.py"}, Lock: hash,
	}, nil
}

// fakeVersion is the version of the Python that spec gets.
func fakeVersion(spec builder.Spec) string {
	if spec.Python != "" && !builder.Satisfies("3.13.1", spec.Python) {
		return "3.11.9"
	}
	return "3.13.1"
}

func (b *fakeBuilder) Prepare(_ context.Context, spec builder.Spec, _ string, _ time.Duration,
	progress func(builder.Stage)) (string, error) {
	progress(builder.Stage{Name: builder.StageResolving, Message: "looking it up"})
	b.mu.Lock()
	err, prepared := b.resolves, b.prepared
	b.mu.Unlock()
	if prepared != nil {
		prepared()
	}
	return fakeVersion(spec), err
}

// Extend fails half way, if it fails.
func (b *fakeBuilder) Extend(ctx context.Context, spec builder.Spec, dir string,
	progress func(builder.Stage)) (builder.Built, error) {
	b.mu.Lock()
	b.extended++
	err := b.extends
	b.mu.Unlock()
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
		return builder.Built{}, ctx.Err()
	}
	if err := os.WriteFile(filepath.Join(dir, "more.py"), []byte("2\n"), 0o600); err != nil {
		return builder.Built{}, err
	}
	if err != nil {
		return builder.Built{}, err
	}
	built := builder.Built{
		Python: filepath.Join(dir, "bin", "python"), PythonVersion: fakeVersion(spec),
		Packages:    []builder.Package{{Name: "ipykernel", Version: "7.4"}},
		PathPrepend: []string{filepath.Join(dir, "bin")}, Sentinels: []string{"bin/python", "pyvenv.cfg", "kernel.py"},
	}
	more := spec.Packages
	if spec.Project == nil {
		more = more[len(spec.Base.Packages):]
	}
	for _, r := range more {
		built.Packages = append(built.Packages, builder.Package{Name: r, Version: "1.0"})
	}
	return built, ctx.Err()
}

func (b *fakeBuilder) Verify(context.Context, builder.Built, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked++
	return b.verify
}

func (b *fakeBuilder) Standby(ctx context.Context, _ builder.Built, dir string) error {
	return b.stand(ctx, dir, false)
}

func (b *fakeBuilder) Tool() (builder.Tool, bool) { return builder.Tool{}, false }

func (b *fakeBuilder) Renew(context.Context, builder.Spec, time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewed++
	return nil
}

// set changes how builds go from now on.
func (b *fakeBuilder) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *fakeBuilder) tries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.began)
}

// building is how many builds run.
func (b *fakeBuilder) building() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running
}

func always(err error) func(int) error { return func(int) error { return err } }

func failing(cause string) func(int) error {
	return always(&builder.Error{Cause: cause, Message: "it went wrong", Hint: "mend it", Output: "line one\nline two"})
}

// fakeProcs are processes that live until the test ends them. A bubble of synctest cannot wait for real ones.
type fakeProcs struct {
	mu    sync.Mutex
	dead  map[int]bool
	using map[string]bool // ids of environments that some process runs from
	exits map[int][]func()
}

func newProcs() *fakeProcs {
	return &fakeProcs{dead: map[int]bool{}, using: map[string]bool{}, exits: map[int][]func(){}}
}

func ownerNo(pid int) proc.Owner {
	return proc.Owner{PID: pid, StartTime: uint64(pid) * 7, BootID: proc.BootID(), MachineID: proc.MachineID(),
		Namespace: proc.Namespace()}
}

func (f *fakeProcs) processes() proc.Processes {
	return proc.Processes{
		Named: func(pid int) (proc.Owner, error) {
			if !f.alive(ownerNo(pid)) {
				return proc.Owner{}, &proc.OwnerError{PID: pid}
			}
			return ownerNo(pid), nil
		},
		Look: func(o proc.Owner) (proc.Sight, string) {
			if f.alive(o) {
				return proc.Living, ""
			}
			return proc.Gone, ""
		},
		Alive: func(proc.Process) bool { return false },
		Users: func(string, map[string]proc.Owner) (map[string]proc.Process, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			found := map[string]proc.Process{}
			for id := range f.using {
				found[id] = proc.Process{}
			}
			return found, nil
		},
		OnExit: func(pid int, g func()) func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.exits[pid] = append(f.exits[pid], g)
			return func() {}
		},
	}
}

func (f *fakeProcs) alive(o proc.Owner) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return o.BootID == proc.BootID() && !f.dead[o.PID]
}

func (f *fakeProcs) End(pid int) {
	f.mu.Lock()
	f.dead[pid] = true
	exits := f.exits[pid]
	f.mu.Unlock()
	for _, g := range exits {
		g()
	}
}

func (f *fakeProcs) use(id string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if yes {
		f.using[id] = true
	} else {
		delete(f.using, id)
	}
}
