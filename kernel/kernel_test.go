package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

func TestTheUsersDataDirectoryIsWhereJupyterHasIt(t *testing.T) {
	home := map[string]string{"HOME": "/home/ada", "USERPROFILE": `/Users/ada`}
	for _, c := range []struct {
		goos string
		vars map[string]string
		want string
	}{
		{"linux", nil, "/home/ada/.local/share/jupyter"},
		{"linux", map[string]string{"XDG_DATA_HOME": "/data"}, "/data/jupyter"},
		{"linux", map[string]string{"XDG_DATA_HOME": "data"}, "data/jupyter"}, // as Jupyter takes it
		{"linux", map[string]string{"JUPYTER_PLATFORM_DIRS": "1"}, "/home/ada/.local/share/jupyter"},
		{"linux", map[string]string{"JUPYTER_DATA_DIR": "/mine", "XDG_DATA_HOME": "/data"}, "/mine"},
		{"linux", map[string]string{"HOME": ""}, ""},
		{"darwin", nil, "/home/ada/Library/Jupyter"},
		{"darwin", map[string]string{"XDG_DATA_HOME": "/data"}, "/home/ada/Library/Jupyter"},
		{"darwin", map[string]string{"JUPYTER_PLATFORM_DIRS": "true"}, "/home/ada/Library/Application Support/jupyter"},
		{"darwin", map[string]string{"JUPYTER_PLATFORM_DIRS": "false"}, "/home/ada/Library/Jupyter"},
		{"darwin", map[string]string{"JUPYTER_DATA_DIR": "/mine"}, "/mine"},
		{"windows", map[string]string{"APPDATA": "/Users/ada/AppData/Roaming"}, "/Users/ada/AppData/Roaming/jupyter"},
		{"windows", nil, "/Users/ada/.jupyter/data"},
		{"windows", map[string]string{"JUPYTER_PLATFORM_DIRS": "1", "LOCALAPPDATA": "/local", "APPDATA": "/roaming"},
			"/local/jupyter"},
		{"windows", map[string]string{"USERPROFILE": ""}, ""},
	} {
		env := func(name string) string {
			if v, ok := c.vars[name]; ok {
				return v
			}
			return home[name]
		}
		if got := filepath.ToSlash(DataDir(c.goos, env)); got != c.want {
			t.Errorf("%s %v: %s, not %s", c.goos, c.vars, got, c.want)
		}
	}
}

func TestASessionNamesAConnectionFileInTheBytesThereAre(t *testing.T) {
	long := "/run/" + strings.Repeat("é", 200) + "/kernel-1.json"
	seen := map[string]bool{}
	for _, file := range []string{"/run/kernel-1.json", "/run/kernel-2.json", long, long + "x", "/run/a\nb.json",
		"/run/a\tb.json", "/run/a b.json", "/run/\xff.json", ""} {
		s := sessionOf(file, "")
		params := rpc.AcquireParams{Session: &s}
		if err := params.Validate(); err != nil || seen[s] {
			t.Errorf("%q: %q: %v", file, s, err)
		}
		seen[s] = true
	}
	if s := sessionOf("/run/kernel-1.json", "#A"); s != "jupyter /run/kernel-1.json#A" {
		t.Error(s)
	}
	if s := sessionOf("/run/kernel-1.json", ""); s != "jupyter /run/kernel-1.json" {
		t.Error(s)
	}
}

func TestTheLabelOfAKernelIsItsNotebook(t *testing.T) {
	for name, want := range map[string]string{
		"work/first.ipynb": "work/first.ipynb", "": "kernel-1.json", "a\x1b[2J": "kernel-1.json",
		strings.Repeat("x", 257): "kernel-1.json",
	} {
		if got := labelOf("/run/kernel-1.json", func(string) string { return name }); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	if got := labelOf("/run/"+strings.Repeat("x", 257), os.Getenv); got != "kernel" {
		t.Error(got)
	}
}

func TestInstallsAtOnceDoNotGetIntoEachOthersWay(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "kernels")
		var all sync.WaitGroup
		for _, how := range []string{"keep", "fresh", "keep", "fresh"} {
			all.Go(func() {
				if _, err := NewSpec(filepath.Join(dir, "warm"), "uv", "uv", "/bin/runt", how).Install(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		inside, err2 := os.ReadDir(filepath.Join(dir, "warm"))
		if err != nil || err2 != nil || len(left) != 1 || len(inside) != 4 || len(SpecsIn(dir)) != 1 {
			t.Fatalf("%v %v: %v, %v", err, err2, left, inside)
		}
	}
}

func TestACellBeginsWithWhatToDoAndFoldsWhatTheToolSaid(t *testing.T) {
	why := &failure.Error{Message: "the index is not trusted", Hint: "set a variable", Output: "one\n<two>\nthree"}
	k := newFailedKernel(connection{}, why)
	short := []string{"hint: set a variable", "RuntimedError: the index is not trusted", "  | one", "  | <two>",
		"  | three", tryAgain}
	if k.folded != nil || !slices.Equal(k.brief, short) || !slices.Equal(k.lines, short) {
		t.Errorf("%q, %v", k.brief, k.folded)
	}
	why.Output += "\nfour"
	k = newFailedKernel(connection{}, why)
	if !slices.Equal(k.brief, append(slices.Clone(short[:2]), tryAgain)) {
		t.Errorf("in a cell is %q", k.brief)
	}
	if all := k.failure()["traceback"]; !slices.Equal(all.([]string),
		slices.Concat(short[:5], []string{"  | four", tryAgain})) {
		t.Errorf("in the answer is %q", all)
	}
	data := k.folded["data"].(object)
	if data["text/plain"] != "What the tool said:\n  | one\n  | <two>\n  | three\n  | four" ||
		data["text/html"] != "<details><summary>What the tool said</summary><pre>one\n&lt;two&gt;\nthree\nfour</pre>"+
			"</details>" {
		t.Errorf("folded is %q", data)
	}
	if k = newFailedKernel(connection{}, failure.New("none")); !slices.Equal(k.brief,
		[]string{"RuntimedError: none", tryAgain}) {
		t.Errorf("without a hint it is %q", k.brief)
	}
}

func TestACellOfWhichNoHistoryIsKeptIsNotCounted(t *testing.T) {
	k := newFailedKernel(connection{Key: "k"}, failure.New("none"))
	for i, c := range []struct {
		content string
		want    int
	}{
		{`{"code": "1"}`, 1}, {`{"code": "1", "store_history": false}`, 1}, {`{"code": "1", "silent": true}`, 1},
		{`{"code": "1", "store_history": true}`, 2},
	} {
		kind, reply := k.answer(request{kind: "execute_request", header: []byte("{}"), content: []byte(c.content)})
		if kind != "execute_reply" || reply["status"] != "error" || reply["execution_count"] != c.want {
			t.Errorf("%d: %s %v", i, kind, reply)
		}
	}
}
