package service

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"runtimed/internal/testkit"
)

func TestAServiceStartsWhatLasts(t *testing.T) {
	home := t.TempDir()
	local := filepath.Join(home, "AppData", "Local")
	t.Setenv("TMP", filepath.Join(local, "Temp"))
	env := func(name string) string {
		return map[string]string{"USERPROFILE": home, "LOCALAPPDATA": local}[name]
	}
	copied := filepath.Join(local, "Programs", "runt", "runtimed.exe")
	for below, copies := range map[string]int{
		"AppData/Local/Programs/runt/runtimed.exe": 0,
		"bin/runtimed.exe":                         0,
		"AppData/Local/Temp/unpacked/runtimed.exe": 1,
		"Downloads/runt-1.2/runtimed.exe":          1,
	} {
		found := program(t, filepath.Join(home, filepath.FromSlash(below)))
		want := found
		if copies > 0 {
			want = copied
		}
		path, files, why := Settle(found, nil, env)
		if path != want || len(files) != copies || (why == "") != (copies == 0) {
			t.Errorf("%s: %s, %d copies, %q", below, path, len(files), why)
		}
	}
	if why := passing(`C:\Program Files\runt\runtimed.exe`, env); why != "" {
		t.Error(why)
	}
}

// An ended task's program is in use for a moment.
func TestAProgramThatIsEndingIsReplaced(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "runtimed.exe")
	data, err := os.ReadFile(testkit.Self(t))
	testkit.Check(t, err)
	testkit.Check(t, os.WriteFile(to, data, 0o700))
	cmd := testkit.Sleeper(t, to)
	if err := os.Rename(program(t, filepath.Join(dir, "another")), to); err == nil {
		t.Skip("a running program can be replaced here")
	}
	time.AfterFunc(againPause, func() { _ = cmd.Process.Kill() })
	f := File{Path: to, From: program(t, filepath.Join(dir, "new")), Mode: 0o755}
	if err := f.write(); err != nil || f.differs() {
		t.Error(err)
	}
}

func TestATasksArgumentsAreReadAsTheyWereMeant(t *testing.T) {
	words := []string{"runtimed.exe", `--cache-dir=D:\with space\`, `--config=C:\a "b"\c d.toml`, `C:\plain\`, `a\\"b`,
		"", "Zoë & <Co>", `\\x\y z\\`, `%PATH%`}
	line := ""
	for _, w := range words {
		line += windowsQuote(w) + " "
	}
	got, err := windows.DecomposeCommandLine(line)
	if err != nil || !slices.Equal(got, words) {
		t.Errorf("%v: %q, not %q", err, got, words)
	}
}
