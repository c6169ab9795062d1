package testkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// GoneSoon fails the test unless the process whose pid is in the file ends.
func GoneSoon(t *testing.T, pidFile string, runs func(pid int) bool) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if !runs(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the process %d lives on", pid)
}

// Check ends the test where there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Rooted is an absolute path of this system: /a/b as it is, or C:\a\b.
func Rooted(path string) string {
	if runtime.GOOS == "windows" {
		return "C:" + filepath.FromSlash(path)
	}
	return path
}

// Refusal is what the system says where a file cannot be opened.
func Refusal(t testing.TB, path string) string {
	t.Helper()
	_, err := os.Open(path)
	refused, ok := errors.AsType[*os.PathError](err)
	if !ok {
		t.Fatalf("opening %s: %v", path, err)
	}
	return refused.Err.Error()
}

// Link makes a link, or skips the test. Windows has a privilege for them, and Wine says that it made one and did not.
func Link(t testing.TB, to, at string) {
	t.Helper()
	err := os.Symlink(to, at)
	if err == nil {
		_, err = os.Readlink(at)
	}
	if err != nil && runtime.GOOS == "windows" {
		t.Skip("links cannot be made here")
	}
	Check(t, err)
}

func ExitWith(t *testing.T, script string) error {
	t.Helper()
	var exit *exec.ExitError
	if err := exitWith(t, script).Run(); errors.As(err, &exit) {
		return exit
	}
	t.Fatal("it did not fail")
	return nil
}

// WriteProgram writes a program. No child may start meanwhile: it would hold the file open for writing.
func WriteProgram(t *testing.T, path string, data []byte) {
	t.Helper()
	if runtime.GOOS == "windows" && strings.HasPrefix(string(data), "#!") {
		t.Skip("it runs a script of its own")
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
}

// KeptTools is a folder that outlives the tests: downloads are expensive.
func KeptTools(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "runtimed-tests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// NetEnviron is the environment in which the package index can be reached.
func NetEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, "XDG_")
	})
}

// Toolbox is a folder with what the scripts need, and no Python.
func Toolbox(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if runtime.GOOS == "windows" {
		return dir // there are no scripts
	}
	for _, name := range []string{"sh", "cat", "cp", "mkdir", "dirname", "env", "chmod", "mv"} {
		for _, from := range []string{"/bin", "/usr/bin"} {
			if path := filepath.Join(from, name); exists(path) {
				if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	return dir
}

// Soon waits until f is true.
func Soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
