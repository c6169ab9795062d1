package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"runtimed/internal/testkit"
)

// The programs under test, built once; the daemon with the race detector where the tests have it.
var daemonProgram, runtProgram string

// inSession names the folder of the programs to the tests that run again under a systemd of their own.
const inSession = "RUNTIMED_TEST_IN_SESSION"

func TestMain(m *testing.M) {
	os.Exit(withPrograms(m.Run))
}

func withPrograms(run func() int) int {
	if bin := os.Getenv(inSession); bin != "" {
		daemonProgram, runtProgram = filepath.Join(bin, "runtimed"), filepath.Join(bin, "runt")
		return run()
	}
	if bin := os.Getenv("RUNTIMED_BIN"); bin != "" && runtime.GOOS == "windows" { // there may be no Go beside us
		daemonProgram, runtProgram = filepath.Clean(bin), filepath.Join(filepath.Dir(bin), "runt.exe")
		return run()
	}
	dir, err := os.MkdirTemp("", "rtd-bin")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755) // for daemons of other users
	}
	if err != nil {
		panic(err)
	}
	if err := errors.Join(build(raced(), dir+"/", "../cmd/runtimed"),
		build(false, dir+"/", "../cmd/runt")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	daemonProgram, runtProgram = filepath.Join(dir, "runtimed"), filepath.Join(dir, "runt")
	return run()
}

// build compiles programs without a version, which a clone would stamp.
func build(race bool, to string, what ...string) error {
	args, cgo := []string{"build", "-buildvcs=false", "-o", to}, "CGO_ENABLED=0" // as they are released
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, what...)...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// plainDaemon is a daemon without the race detector, which has a memory of its own.
func plainDaemon(t testing.TB) string {
	t.Helper()
	path, err := withoutRace()
	check(t, err)
	return path
}

var withoutRace = sync.OnceValues(func() (path string, err error) {
	if path = daemonProgram; raced() {
		path += "-plain"
		err = build(false, path, "../cmd/runtimed")
	}
	return path, err
})

// raced says whether these tests have the race detector, which the daemon then has too.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

var check = testkit.Check
