package pyreq

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

var (
	ones = "sha256:" + strings.Repeat("1", 64)
	twos = "sha256:" + strings.Repeat("2", 64)
)

// lockOf is a lock file of which the lines are given, with HASH for a hash.
func lockOf(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, "\n"), "HASH", "--hash="+ones)
}

func TestALockFileHasOneHashHoweverItIsWritten(t *testing.T) {
	text := lockOf("b==2 \\", "    HASH \\", "    --hash="+twos, "a[x]==1 ; python_version >= '3.9' HASH",
		"c @ https://h/c.whl HASH")
	want, err := ReadLock(text, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{
		lockOf("c @ https://h/c.whl HASH", `A[x]==1; python_version >= "3.9" HASH  # via b`, "",
			"b == 2 --hash "+twos+" HASH"),
		"\ufeff# by hand\r\n--index-url https://u:p@index/simple\r\n-f /here\r\n" +
			strings.ReplaceAll(text, "\n", "\r\n"),
		strings.ReplaceAll(text, "//h", "//user:secret@h") + lockOf("", "b==2 HASH --hash="+twos),
		strings.ToUpper(text[:1]) + text[1:],
	} {
		got, err := ReadLock(other, true)
		if err != nil || got.Hash() != want.Hash() {
			t.Errorf("%v, another hash for\n%s", err, other)
		}
		if strings.Contains(got.Shown(), "secret") || strings.Contains(other, "secret") !=
			strings.Contains(got.Text(), "secret") {
			t.Errorf("shown:\n%s\nfor uv:\n%s", got.Shown(), got.Text())
		}
	}
	for _, other := range []string{text + "\nd==1 --hash=" + ones, strings.Replace(text, "1111", "1112", 1),
		strings.Replace(text, "b==2", "b==3", 1)} {
		if got, err := ReadLock(other, true); err != nil || got.Hash() == want.Hash() {
			t.Errorf("%v, the same hash for\n%s", err, other)
		}
	}
	again, err := ReadLock(want.Shown(), true)
	if err != nil || again.Shown() != want.Shown() {
		t.Errorf("%v, read again:\n%s", err, again.Shown())
	}
}

func TestALineThatGoesOnForManyLinesIsReadOnce(t *testing.T) {
	allocates := func(lines int) float64 {
		var before, after runtime.MemStats
		text := strings.Repeat("a\\\n", lines)
		runtime.ReadMemStats(&before)
		_, err := ReadLock(text, true)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.HasPrefix(err.Error(), "line 1 ") {
			t.Errorf("%.100v", err)
		}
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	// Four times the lines take four times the memory, and sixteen times if each line copies what it is joined to.
	if few, many := allocates(1<<13), allocates(1<<15); many > 6*few {
		t.Errorf("%.0f bytes, and then %.0f", few, many)
	}
	l, err := ReadLock("a==1 \\\n"+strings.Repeat("\\\n", 1000)+"--hash="+ones+"\nb==2 --hash="+ones, true)
	if err != nil || len(l.Entries) != 2 {
		t.Errorf("%v, %+v", err, l)
	}
}

func TestALockFileMayBeForOnePython(t *testing.T) {
	l, err := ReadLock(lockOf("a==1 HASH"), true)
	if err != nil {
		t.Fatal(err)
	}
	any := l.Hash()
	l.Python, l.Platform = "3.12", "linux-amd64"
	again, err := ReadLock(l.Shown(), true)
	if err != nil || again.Python != "3.12" || again.Platform != "linux-amd64" || again.Hash() != l.Hash() ||
		again.Hash() == any {
		t.Errorf("%v, %+v", err, again)
	}
}

func TestALineOfALockFileThatCannotBeTakenIsNamed(t *testing.T) {
	for text, says := range map[string]string{
		"a==1":                                  "line 2 \"a==1\" has no --hash",
		"-r /etc/passwd":                        "line 2 \"-r /etc/passwd\" is an option",
		"-c other.txt":                          "is an option",
		"-e .":                                  "is an option",
		"-e .  HASH":                            "is an option",
		"--trusted-host evil":                   "is an option",
		"--pre":                                 "is an option",
		"--no-binary :all:":                     "is an option",
		"a==1 --index-url http://evil HASH":     "is not a version",
		"a==1 HASH --index-url http://evil":     "has something beside its hashes",
		"a==1 HASH --config-settings=x":         "has something beside its hashes",
		"./x.whl HASH":                          "is a path",
		"/x.whl HASH":                           "is a path",
		"https://h/x.whl HASH":                  "is a URL without a name",
		"a @ file:///x.whl":                     "has no --hash",
		"a>=1 HASH":                             "names no single version",
		"a==1.* HASH":                           "names no single version",
		"a HASH":                                "names no single version",
		"a==1,==2 HASH":                         "names no single version",
		"a==1 --hash=md5:" + ones[:32]:          "for a hash",
		"a==1 --hash=sha256:11":                 "for a hash",
		"a==1 --hash=":                          "beside its hashes",
		"a==${VERSION} HASH":                    "has a variable",
		"a==1\x00 HASH":                         "NUL byte",
		"a==1; x\x1b[2J HASH":                   "control character",
		"[project]":                             "does not begin with the name",
		"{\"a\": 1}":                            "does not begin with the name",
		"a @ https://u:secret@h/a.whl":          "https://***",
		strings.Repeat("x", 5<<10) + "==1":      "has no --hash",
		"a==1 ; os_name == \"--hash=\" -e HASH": "",
	} {
		_, err := ReadLock("# one\n"+lockOf(text)+"\n", true)
		e, ok := err.(*LockError)
		if !ok || !strings.Contains(err.Error(), says) || e.Line != 2 || len(err.Error()) > 400 ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%.60q: %v, want %q", text, err, says)
		}
	}
	for _, empty := range []string{"", "# nothing\n", "-i https://index\n"} {
		if _, err := ReadLock(empty, true); err == nil {
			t.Errorf("%q is a lock file", empty)
		}
	}
	if _, err := ReadLock(lockOf("a @ file:///x/a-1-py3-none-any.whl HASH"), true); err != nil {
		t.Error(err)
	}
}

func TestALockFileSaysWhatItLacks(t *testing.T) {
	l, err := ReadLock(lockOf("ipykernel==7.1.0 HASH", "torch==2.0+cpu HASH", "pre==1.0rc1 HASH",
		"u @ https://h/u.whl HASH"), true)
	if err != nil {
		t.Fatal(err)
	}
	for requirement, lacks := range map[string]string{
		"IPyKernel": "", "ipykernel>=6,<8": "", "ipykernel==7.1": "", "ipykernel>=8": "has ipykernel 7.1.0",
		"numpy": "has no numpy", "torch>=1": "", "pre>=1": "", "u>=3": "", "u": "",
	} {
		if got := l.Lacks(requirement); got != lacks {
			t.Errorf("%s: %q, want %q", requirement, got, lacks)
		}
	}
}

func TestWhereOneRequirementHasAHashAllNeedOne(t *testing.T) {
	n, err := Request{Packages: []string{"a"}, Requirements: lockOf("A==1 \\", " HASH", "b==2 HASH # via a")}.Needs()
	want := []string{"a==1 --hash=" + ones, "b==2 --hash=" + ones}
	if err != nil || !slices.Equal(n.Locked, want) || !slices.Equal(n.Packages, []string{"a", "a==1", "b==2"}) {
		t.Errorf("%v %+v", err, n)
	}
	for _, r := range []Request{
		{Requirements: lockOf("a==1 HASH", "b==2")},
		{Requirements: lockOf("b", "a==1 HASH")},
		{Requirements: lockOf("a>=1 HASH")},
		{Requirements: lockOf("a==1 HASH"), Packages: []string{"b"}},
		{Requirements: lockOf("a==1 HASH"), Packages: []string{"a>=2"}},
		{Requirements: lockOf("a==1 HASH"), Script: "# /// script\n# dependencies = ['b']\n# ///\n"},
		{Requirements: lockOf("a==1 HASH"), Conda: true},
	} {
		if n, err := r.Needs(); err == nil || err.(*Error).Param != "requirements" || err.(*Error).Hint == "" {
			t.Errorf("%+v: %v %+v", r, err, n)
		}
	}
}
