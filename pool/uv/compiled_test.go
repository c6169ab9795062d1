package uv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// compiler is a stand-in whose Python compiles what it imports: the sources ipykernel/__init__.py, zmq/a.py and
// zmq/b.py, which are new files in each environment, with times of their own. The last one is read-only.
type compiler struct {
	*standin
	spec builder.Spec
}

const syncWithTimes = `
echo >> "$here/syncs"
echo one > "$site/zmq/a.py"
echo two > "$site/zmq/b.py"
find "$site" -name '*.py' -exec touch -t "2001010100$(printf %02d $(wc -l < "$here/syncs"))" {} +
chmod 444 "$site/zmq/b.py"
`

func newCompiler(t *testing.T) *compiler {
	t.Helper()
	c := &compiler{standin: newStandin(t), spec: wanting("ipykernel")}
	c.Write("compiles", "")
	c.then("")
	return c
}

// then has uv install the sources, and run more, a script of sh. Where that is none, it needs none.
func (c *compiler) then(more string) {
	c.Helper()
	switch {
	case runtime.GOOS != "windows":
		c.Write("sync.then", syncWithTimes+more)
	case more != "":
		c.Skip("it runs a script of its own")
	default:
		c.Write("sync.times", "")
	}
}

// makes builds an environment, and returns where and what had to be compiled for it.
func (c *compiler) makes(spec builder.Spec) (dir string, compiled string) {
	c.Helper()
	dir, _, err := c.build(spec)
	testkit.Check(c, err)
	lines := strings.Fields(c.Took("compiled"))
	slices.Sort(lines)
	return dir, strings.Join(lines, " ")
}

const everything = "ipykernel/__init__.py zmq/a.py zmq/b.py"

// pyc is the .pyc file of zmq/a.py.
func pyc(dir string) string {
	return filepath.Join(dir, testkit.Site, "zmq/__pycache__/a.cpython-313.pyc")
}

func (c *compiler) madeFor(path string) string {
	c.Helper()
	data, err := os.ReadFile(path)
	testkit.Check(c, err)
	first, _, _ := strings.Cut(string(data[16:]), "\n")
	return strings.TrimPrefix(first, "compiled for ")
}

// entries are the folders of compiled files.
func (c *compiler) entries() []string {
	c.Helper()
	list, err := filepath.Glob(filepath.Join(c.State, "tools/compiled/*"))
	testkit.Check(c, err)
	return list
}

// files are the paths of the compiled files in the one entry.
func (c *compiler) files() (list []string) {
	c.Helper()
	entries := c.entries()
	if len(entries) != 1 {
		c.Fatalf("%q", entries)
	}
	all, err := os.ReadDir(entries[0])
	testkit.Check(c, err)
	for _, e := range all {
		if len(e.Name()) == 64 {
			list = append(list, filepath.Join(entries[0], e.Name()))
		}
	}
	return list
}

func inode(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	testkit.Check(t, err)
	return info
}

func (c *compiler) linked(path string) bool {
	c.Helper()
	mine := inode(c.T, path)
	return slices.ContainsFunc(c.files(), func(f string) bool { return os.SameFile(mine, inode(c.T, f)) })
}

func TestTheNextEnvironmentOfALockFileCompilesNothing(t *testing.T) {
	c := newCompiler(t)
	first, compiled := c.makes(c.spec)
	if compiled != everything || c.linked(pyc(first)) {
		t.Errorf("the first compiled %q", compiled)
	}
	source := func(dir string) time.Time {
		return inode(t, filepath.Join(filepath.Dir(filepath.Dir(pyc(dir))), "a.py")).ModTime()
	}
	for range 2 {
		dir, compiled := c.makes(c.spec)
		if compiled != "" || !c.linked(pyc(dir)) || c.madeFor(pyc(dir)) != first {
			t.Errorf("compiled %q", compiled)
		}
		if mode := inode(t, pyc(dir)).Mode(); mode&0o200 != readOnly&0o200 {
			t.Errorf("what is linked can be written to: %v", mode)
		}
		if !source(dir).Equal(source(first)) {
			t.Errorf("the source has the time %s, not %s", source(dir), source(first))
		}
	}
	other := New(c.State, Config{}, c.Variables, zap.NewNop())
	other.Elsewhere = nil
	c.Builder = other // of the next daemon
	if _, compiled := c.makes(c.spec); compiled != "" {
		t.Errorf("after a restart compiled %q", compiled)
	}
}

func TestWhatIsEditedOrDamagedNeverReachesTheNextEnvironment(t *testing.T) {
	ofManyBuilds(t)
	rewrite := func(path string, change func(data []byte) []byte) error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		return errors.Join(err, os.Chmod(path, 0o600), os.WriteFile(path, change(data), 0),
			os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	index := func(c *compiler, change func(i *compiledFiles)) error {
		path := filepath.Join(c.entries()[0], compiledIndex)
		return rewrite(path, func(data []byte) []byte {
			var i compiledFiles
			testkit.Check(c, json.Unmarshal(data, &i))
			change(&i)
			data, err := json.Marshal(i)
			testkit.Check(c, err)
			return data
		})
	}
	for name, x := range map[string]struct {
		damage   func(c *compiler, dir string) error
		compiled string
	}{
		"edited in an environment": {func(_ *compiler, dir string) error {
			return rewrite(pyc(dir), func(data []byte) []byte { data[20] ^= 1; return data })
		}, "zmq/a.py"},
		"cut short in an environment": {func(_ *compiler, dir string) error {
			return rewrite(pyc(dir), func(data []byte) []byte { return data[:17] })
		}, "zmq/a.py"},
		"emptied": {func(_ *compiler, dir string) error {
			return rewrite(pyc(dir), func([]byte) []byte { return nil })
		}, "zmq/a.py"},
		"all are gone": {func(c *compiler, _ string) error {
			var err error
			for _, f := range c.files() {
				err = errors.Join(err, os.Remove(f))
			}
			return err
		}, everything},
		"links in their place": {func(c *compiler, dir string) error {
			var err error
			for _, f := range c.files() {
				mine := filepath.Join(c.TempDir(), "mine")
				err = errors.Join(err, os.Rename(f, mine), os.Symlink(mine, f))
			}
			return err
		}, everything},
		"the index is no JSON": {func(c *compiler, _ string) error {
			return os.WriteFile(filepath.Join(c.entries()[0], compiledIndex), []byte(`{"for":`), 0o600)
		}, everything},
		"the index leads elsewhere": {func(c *compiler, _ string) error {
			return index(c, func(i *compiledFiles) {
				i.Files[0].Path = "../" + i.Files[0].Path
				i.Files[1].Path = filepath.ToSlash(filepath.Join(c.State, i.Files[1].Path))
				i.Files[2].Name = "../../../locks/" + filepath.Base(c.entries()[0])
			})
		}, everything},
		"the index leads elsewhere with the right names": {func(c *compiler, _ string) error {
			return errors.Join(os.MkdirAll(filepath.Join(c.State, "envs/mine"), 0o700),
				os.WriteFile(filepath.Join(c.State, "envs/mine/a.py"), []byte("one\n"), 0o600),
				index(c, func(i *compiledFiles) {
					f := &i.Files[1]
					code, err := os.ReadFile(filepath.Join(c.entries()[0], f.Name))
					f.Path = "../mine/__pycache__/a.pyc"
					f.Name = f.name(code)
					testkit.Check(c, errors.Join(err, os.WriteFile(filepath.Join(c.entries()[0], f.Name), code, 0o600)))
				}))
		}, "zmq/a.py"},
		"the index has them the wrong way round": {func(c *compiler, _ string) error {
			return index(c, func(i *compiledFiles) {
				i.Files[1].Name, i.Files[2].Name = i.Files[2].Name, i.Files[1].Name
			})
		}, "zmq/a.py zmq/b.py"},
		"no index": {func(c *compiler, _ string) error {
			return os.Remove(filepath.Join(c.entries()[0], compiledIndex))
		}, everything},
		"a file in place of the folder": {func(c *compiler, _ string) error {
			dir := filepath.Dir(c.entries()[0])
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, everything},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompiler(t)
			c.makes(c.spec)
			second, _ := c.makes(c.spec)
			testkit.Check(t, x.damage(c, second))
			third, compiled := c.makes(c.spec)
			if compiled != x.compiled {
				t.Errorf("compiled %q", compiled)
			}
			if data, err := os.ReadFile(pyc(third)); err != nil || !strings.HasSuffix(string(data), "\none\n") {
				t.Errorf("it got %q, %v", data, err)
			}
			if _, compiled := c.makes(c.spec); compiled != "" {
				t.Errorf("and the one after it compiled %q", compiled)
			}
			if locks, _ := filepath.Glob(filepath.Join(c.State, "locks/*")); len(locks) != 1 {
				t.Errorf("locks: %q", locks)
			}
			if envdir.Exists(filepath.Join(c.State, "envs/mine/__pycache__")) {
				t.Error("a file was put outside of the environment")
			}
		})
	}
}

func TestASourceWithOtherContentHasItsOwnCompiledFile(t *testing.T) {
	c := newCompiler(t)
	c.makes(c.spec)
	c.then(`echo ONE > "$site/zmq/a.py"; touch -t 200101010001 "$site/zmq/a.py"`)
	dir, compiled := c.makes(c.spec)
	data, err := os.ReadFile(pyc(dir))
	if compiled != "zmq/a.py" || err != nil || !strings.HasSuffix(string(data), "\nONE\n") {
		t.Errorf("compiled %q, got %q, %v", compiled, data, err)
	}
}

func TestASourceThatUVSharesKeepsItsTime(t *testing.T) {
	c := newCompiler(t)
	first, _ := c.makes(c.spec)
	c.then(`ln "$site/zmq/a.py" "$here/cached"`)
	dir, compiled := c.makes(c.spec)
	cached := inode(t, filepath.Join(c.Bin, "cached"))
	if compiled != "zmq/a.py" || cached.ModTime().Minute() != 2 {
		t.Errorf("compiled %q; the time is %s", compiled, cached.ModTime())
	}
	if c.madeFor(pyc(dir)) != dir || c.madeFor(pyc(first)) != first {
		t.Error("it has another's")
	}
	c.then(`ln -f "$here/cached" "$site/zmq/a.py"`)
	if next, compiled := c.makes(c.spec); compiled != "" || c.madeFor(pyc(next)) != dir {
		t.Errorf("then compiled %q", compiled)
	}
}

func TestWithCopiesNoCompiledFileIsShared(t *testing.T) {
	c := newCompiler(t)
	c.Configure(Config{Copy: true})
	first, _ := c.makes(c.spec)
	dir, compiled := c.makes(c.spec)
	if compiled != "" || c.linked(pyc(dir)) || c.madeFor(pyc(dir)) != first {
		t.Errorf("compiled %q", compiled)
	}
	if mode := inode(t, pyc(dir)).Mode(); mode&0o200 == 0 {
		t.Errorf("its owner cannot write to it: %v", mode)
	}
}

func TestAnotherPythonOrAnotherLockFileHasItsOwnCompiledFiles(t *testing.T) {
	ofManyBuilds(t)
	for name, change := range map[string]func(c *compiler) error{
		"another set": func(c *compiler) error { c.spec = wanting("ipykernel", "numpy"); return nil },
		"renewed": func(c *compiler) error {
			locks, err := filepath.Glob(filepath.Join(c.State, "locks/*.txt"))
			return errors.Join(err, os.WriteFile(locks[0], []byte("ipykernel==8\n"), 0o600))
		},
		"other modules": func(c *compiler) error { c.spec.Preload = []string{"pandas"}; return nil },
		"another version of Python": func(c *compiler) error {
			c.Write("pythons", strings.ReplaceAll(c.pythons(), "3.13.1", "3.13.2"))
			c.Write("version", "3.13.2\n")
			c.ForgetPythons()
			return nil
		},
		"another Python of the version": func(c *compiler) error {
			other := filepath.Join(c.TempDir(), "python"+testkit.Exe)
			if runtime.GOOS == "windows" {
				testkit.Check(c, os.Link(c.Program("python"), other))
			} else {
				testkit.Link(c, c.Program("python"), other)
			}
			c.Write("pythons", strings.ReplaceAll(c.pythons(), strconv.Quote(c.Program("python")),
				strconv.Quote(other)))
			c.ForgetPythons()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompiler(t)
			c.makes(c.spec)
			testkit.Check(t, change(c))
			if _, compiled := c.makes(c.spec); compiled != everything {
				t.Errorf("compiled %q", compiled)
			}
			if _, compiled := c.makes(c.spec); compiled != "" {
				t.Errorf("then compiled %q", compiled)
			}
			if list, own := c.entries(), name == "another set" || name == "other modules"; (len(list) == 2) != own {
				t.Errorf("%q", list)
			}
		})
	}
}

func (c *compiler) pythons() string {
	c.Helper()
	data, err := os.ReadFile(filepath.Join(c.Bin, "pythons"))
	testkit.Check(c, err)
	return string(data)
}

func TestWhatSomebodyNeedsBeyondAPoolTakesThePoolsCompiledFilesAndKeepsNone(t *testing.T) {
	c := newCompiler(t)
	needs := more(c.spec, "humanize")
	for range 2 {
		if _, compiled := c.makes(needs); compiled != everything || len(c.entries()) != 0 {
			t.Errorf("compiled %q, kept %q", compiled, c.entries())
		}
	}
	c.makes(c.spec)
	if _, compiled := c.makes(needs); compiled != "" || len(c.entries()) != 1 {
		t.Errorf("compiled %q, kept %q", compiled, c.entries())
	}
	testkit.Check(t, os.RemoveAll(c.entries()[0]))
	if _, compiled := c.makes(needs); compiled != everything || len(c.entries()) != 0 {
		t.Errorf("then compiled %q, kept %q", compiled, c.entries())
	}
}

func TestCompiledFilesThatPythonDoesNotTakeAreReplaced(t *testing.T) {
	c := newCompiler(t)
	c.makes(c.spec)
	path := c.Program("python")
	data, err := os.ReadFile(path)
	testkit.Check(t, err)
	testkit.WriteProgram(t, path, bytes.ReplaceAll(data, []byte("mag"), []byte("new"))) // of the same version
	for _, want := range []string{everything, ""} {
		if _, compiled := c.makes(c.spec); compiled != want {
			t.Errorf("compiled %q, not %q", compiled, want)
		}
	}
}

func TestASourceWithTheEnvironmentsPathInItIsNotKept(t *testing.T) {
	c := newCompiler(t)
	c.then(`cd "$site/zmq"; chmod 644 b.py; echo "$site" > b.py; touch -r a.py b.py; chmod 444 b.py`)
	c.makes(c.spec)
	index := inode(t, filepath.Join(c.entries()[0], compiledIndex))
	for range 2 {
		if _, compiled := c.makes(c.spec); compiled != "zmq/b.py" {
			t.Errorf("compiled %q", compiled)
		}
	}
	if !os.SameFile(index, inode(t, filepath.Join(c.entries()[0], compiledIndex))) {
		t.Error("each build keeps its own")
	}
}

func TestBuildsSideBySideKeepOneSetOfCompiledFiles(t *testing.T) {
	ofManyBuilds(t)
	c := newCompiler(t)
	for range 3 {
		var all sync.WaitGroup
		for i := range 4 {
			dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
			all.Go(func() {
				if _, err := c.Build(t.Context(), c.spec, dir, func(builder.Stage) {}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		c.Took("compiled")
		if _, compiled := c.makes(c.spec); compiled != "" || len(c.files()) != 3 {
			t.Errorf("compiled %q", compiled)
		}
		testkit.Check(t, rewriteLock(c))
	}
}

// rewriteLock makes the compiled files those of another lock file.
func rewriteLock(c *compiler) error {
	locks, err := filepath.Glob(filepath.Join(c.State, "locks/*.txt"))
	if err != nil {
		return err
	}
	return os.WriteFile(locks[0], fmt.Appendf(nil, "ipykernel==%d\n", time.Now().UnixNano()), 0o600)
}

func TestABuildThatIsTriedAgainTakesNoCompiledFileAndReplacesThem(t *testing.T) {
	c := newCompiler(t)
	first, _ := c.makes(c.spec)
	c.then(`[ -e "$here/failed" ] || { : > "$here/failed"; : > "$site/zmq/x.so"; }`)
	locks, _ := filepath.Glob(filepath.Join(c.State, "locks/*.txt"))
	data, err := os.ReadFile(locks[0])
	past := time.Now().Add(-time.Hour) // a younger one is removed, and the build has failed
	testkit.Check(t, errors.Join(err, os.Chtimes(locks[0], past, past)))
	second, compiled := c.makes(c.spec)
	if again, err := os.ReadFile(locks[0]); err != nil || string(again) != string(data) {
		t.Fatalf("%q, %v: another lock file has other compiled files", again, err)
	}
	if compiled != everything || c.madeFor(pyc(second)) != second {
		t.Errorf("compiled %q", compiled)
	}
	third, compiled := c.makes(c.spec)
	if compiled != "" || c.madeFor(pyc(third)) == first {
		t.Errorf("compiled %q", compiled)
	}
}

func TestAKillWhileCompiledFilesAreKeptLeavesNothing(t *testing.T) {
	ofManyBuilds(t)
	for name, half := range map[string]func(c *compiler, entry, scratch string) error{
		"before the index": func(c *compiler, entry, scratch string) error {
			return errors.Join(os.Rename(entry, filepath.Join(scratch, "entry")),
				os.Remove(filepath.Join(scratch, "entry", compiledIndex)))
		},
		"in the index": func(c *compiler, entry, scratch string) error {
			to := filepath.Join(scratch, "entry")
			return errors.Join(os.Rename(entry, to), os.Truncate(filepath.Join(to, compiledIndex), 10))
		},
		"before the old ones give way": func(c *compiler, entry, scratch string) error {
			return os.CopyFS(filepath.Join(scratch, "entry"), os.DirFS(entry))
		},
		"after the old ones gave way": func(c *compiler, entry, scratch string) error {
			return errors.Join(os.CopyFS(filepath.Join(scratch, "entry"), os.DirFS(entry)),
				os.Rename(entry, filepath.Join(scratch, "before")))
		},
		"before the mark": func(_ *compiler, _, scratch string) error { return os.RemoveAll(scratch + "/.runtimed") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompiler(t)
			c.makes(c.spec)
			entry := c.entries()[0]
			scratch, _, err := statedir.Scratch(filepath.Dir(entry), statedir.CompilePrefix)
			testkit.Check(t, errors.Join(err, half(c, entry, scratch)))
			c.standin = withUV(c.Kit) // the next daemon
			_, first := c.makes(c.spec)
			_, second := c.makes(c.spec)
			stands := strings.HasPrefix(name, "before the old") || name == "before the mark"
			if (first == "") != stands || second != "" {
				t.Errorf("compiled %q, then %q", first, second)
			}
			entries, err := os.ReadDir(filepath.Dir(entry))
			if err != nil || len(entries) != 1 {
				t.Errorf("%v, %v", entries, err)
			}
		})
	}
}

func TestCompiledFilesGoWithTheirLockFileAndWhenTheyAreNotUsed(t *testing.T) {
	c := newCompiler(t)
	c.makes(c.spec)
	mine := c.entries()[0]
	entry := func(name string, age time.Duration, locked bool) string {
		t.Helper()
		path, then := filepath.Join(filepath.Dir(mine), name), time.Now().Add(-age)
		index := filepath.Join(path, compiledIndex)
		testkit.Check(t, errors.Join(statedir.MakeFolder(path), os.WriteFile(index, []byte("{}"), 0o600),
			os.Chtimes(index, then, then)))
		if locked {
			testkit.Check(t, os.WriteFile(filepath.Join(c.State, "locks", name), []byte("x==1\n"), 0o600))
		}
		return path
	}
	past := time.Now().Add(-compiledUnused + time.Hour)
	testkit.Check(t, os.Chtimes(filepath.Join(mine, compiledIndex), past, past))
	unlocked, used := entry("0000000000000001-py3.13.txt", 0, false), entry("0000000000000002-py3.13.txt", 0, true)
	unused := entry("0000000000000003-py3.13.txt", compiledUnused+time.Hour, true)
	others := filepath.Join(filepath.Dir(mine), "0000000000000004-py3.13.txt")
	testkit.Check(t, os.Mkdir(others, 0o700)) // without our mark
	start := func() {
		t.Helper()
		c.standin = withUV(c.Kit) // the next daemon
		if _, compiled := c.makes(c.spec); compiled != "" {
			t.Errorf("compiled %q", compiled)
		}
	}
	start()
	for path, stays := range map[string]bool{mine: true, used: true, others: true, unlocked: false, unused: false} {
		if envdir.Exists(path) != stays {
			t.Errorf("%s is there: %t", path, !stays)
		}
	}
	if at := inode(t, filepath.Join(mine, compiledIndex)).ModTime(); time.Since(at) > time.Hour {
		t.Errorf("it was last used at %s", at)
	}
	for i := range compiledMost {
		entry(fmt.Sprintf("00000000000001%02d-py3.13.txt", i), time.Duration(i+1)*time.Minute, true)
	}
	start()
	oldest := filepath.Join(filepath.Dir(mine), fmt.Sprintf("00000000000001%02d-py3.13.txt", compiledMost-1))
	if left := c.entries(); len(left) != compiledMost+1 || !slices.Contains(left, mine) ||
		!slices.Contains(left, others) || slices.Contains(left, oldest) {
		t.Errorf("%q", left)
	}
}

func TestOfTwoThatCompiledAtTheSameTimeTheFirstKeepsItsFiles(t *testing.T) {
	c := newCompiler(t)
	first, _ := c.makes(c.spec)
	entry := c.entries()[0]
	lock := filepath.Join(c.State, "locks", filepath.Base(entry))
	testkit.Check(t, os.RemoveAll(entry))
	var both []Compiled
	for range 2 {
		of := c.Compiled(first, lock, false, nil)
		if of.Link(t.Context()) {
			t.Error("there was something to link")
		}
		both = append(both, of)
	}
	both[0].Keep(t.Context())
	index := inode(t, filepath.Join(entry, compiledIndex))
	both[1].Keep(t.Context())
	if !os.SameFile(index, inode(t, filepath.Join(entry, compiledIndex))) {
		t.Error("the second replaced them")
	}
}

func TestOnlyAFileThatIsCheckedByItsSourceIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		ok   bool
	}{
		"time and size": {"mag\n\x00\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x00code", true},
		"by a hash":     {"mag\n\x03\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x00code", false},
		"unchecked":     {"mag\n\x01\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x00code", false},
		"cut short":     {"mag\n\x00\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00", false},
	} {
		if h, ok := headerOf([]byte(c.code)); ok != c.ok || ok && h != (header{1, 258}) {
			t.Errorf("%s: %v, %t", name, h, ok)
		}
	}
}
