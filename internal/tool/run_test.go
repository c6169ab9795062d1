//go:build unix

package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
)

// sh runs a shell script as a child of a build.
func sh(ctx context.Context, t *testing.T, script string) (Result, error) {
	t.Helper()
	return Run(ctx, Command{Argv: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(),
		Env: []string{"PATH=" + os.Getenv("PATH")}, Mark: t.TempDir()})
}

func TestAChildsAnswerAndItsLastLinesAreKept(t *testing.T) {
	done, err := sh(t.Context(), t, `echo answer; echo complaint >&2; pwd; echo "$RUNT_BUILD_OF"`)
	lines := strings.Split(strings.TrimSpace(string(done.Stdout)), "\n")
	if err != nil || lines[0] != "answer" || len(lines) != 3 || !filepath.IsAbs(lines[1]) || !filepath.IsAbs(lines[2]) {
		t.Errorf("%v: %q", err, done.Stdout)
	}
	if !strings.Contains(done.Output, "complaint") || !strings.Contains(done.Output, "answer") {
		t.Errorf("%q", done.Output)
	}
}

func TestWhatHoldsTheOutputIsEndedWithTheChild(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	done, err := sh(t.Context(), t, fmt.Sprintf(`sleep 600 & echo $! > %s; echo done`, pid))
	if err != nil || string(done.Stdout) != "done\n" || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s: %q", err, time.Since(began), done.Stdout)
	}
	testkit.GoneSoon(t, pid, proc.Runs)
}

func TestAChildThatIgnoresEverySignalEndsByItsDeadline(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := sh(ctx, t, fmt.Sprintf(
		`trap '' TERM INT HUP; (trap '' TERM; sleep 600) & echo $! > %s; while :; do sleep 1; done`, pid))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	testkit.GoneSoon(t, pid, proc.Runs)
}

func TestAFloodOfOutputIsBounded(t *testing.T) {
	done, err := sh(t.Context(), t,
		`i=0; while [ $i -lt 160 ]; do printf '%065536d' 7 >&2; i=$((i+1)); done; echo >&2; echo the end >&2`)
	if err != nil || len(done.Output) > OutputTail || !strings.HasSuffix(done.Output, "the end") {
		t.Errorf("%v: %d bytes, %q", err, len(done.Output), done.Output[max(0, len(done.Output)-20):])
	}
	done, err = sh(t.Context(), t, `head -c 20000000 /dev/zero`)
	if err != nil || len(done.Stdout) != outputHead {
		t.Errorf("%v: %d bytes", err, len(done.Stdout))
	}
}

func TestAQuestionGetsTheEndOfInput(t *testing.T) {
	done, err := sh(t.Context(), t, `if read answer; then echo "got $answer"; else echo end; fi`)
	if err != nil || string(done.Stdout) != "end\n" {
		t.Errorf("%v: %q", err, done.Stdout)
	}
}

func TestHowAChildEndedIsTold(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":         "exit status 3",
		"kill -KILL $$":  "signal: killed",
		"kill -SEGV $$":  "signal: segmentation fault",
		"exec /no/such":  "exit status 127",
		"kill -TERM -$$": "signal: terminated",
	} {
		_, err := sh(t.Context(), t, script)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.HasPrefix(exit.ProcessState.String(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	_, err := Run(t.Context(), Command{Argv: []string{filepath.Join(t.TempDir(), "missing")}, Dir: t.TempDir()})
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestNoZombiesAreLeft(t *testing.T) {
	for i := range 100 {
		if _, err := sh(t.Context(), t, fmt.Sprintf("true & exit %d", i%2)); (err == nil) != (i%2 == 0) {
			t.Fatal(err)
		}
	}
	if n := testkit.OwnZombies(t); n > 0 {
		t.Errorf("%d zombies", n)
	}
}

func TestWhatAToolSaidIsFitToBeShown(t *testing.T) {
	var cut Tail
	_, _ = cut.Write([]byte("https://user:" + strings.Repeat("s", tailKept) + "ecret@host/x failed\nand so on\n"))
	if got := cut.String(); got != "failed\nand so on" {
		t.Errorf("%q", got)
	}
	var odd Tail
	_, _ = odd.Write([]byte("a\x1b[31mb\xff\x00c\td é\n\n"))
	if got := odd.String(); got != "a[31mbc\td é" {
		t.Errorf("%q", got)
	}
}

func TestOnlyWhatConcernsABuildPassesToItsChildren(t *testing.T) {
	in := map[string]bool{
		"HOME": true, "PATH": true, "LANG": true, "LC_ALL": true, "HTTPS_PROXY": true, "no_proxy": true,
		"SSL_CERT_FILE": true,
		"UV_INDEX":      true, "UV_INDEX_MINE_PASSWORD": true, "UV_DEFAULT_INDEX": true, "UV_EXTRA_INDEX_URL": true,
		"UV_FIND_LINKS": true,
		"UV_NATIVE_TLS": true, "UV_INSECURE_HOST": true, "UV_KEYRING_PROVIDER": true, "UV_PYTHON_INSTALL_MIRROR": true,
		"PIP_INDEX_URL": true, "PIP_CERT": true, "XDG_CONFIG_HOME": true,
		"VIRTUAL_ENV": false, "CONDA_PREFIX": false, "CONDA_DEFAULT_ENV": false, "PYTHONHOME": false,
		"PYTHONPATH":              false,
		"PYTHONDONTWRITEBYTECODE": false, "UV_PROJECT": false, "UV_OFFLINE": false, "UV_LINK_MODE": false,
		"UV_CACHE_DIR":   false,
		"UV_CONFIG_FILE": false, "UV_SYSTEM_PYTHON": false, "UV_PYTHON": false, "LD_PRELOAD": false,
		"RUNT_BUILD_OF": false, "HOMEX": false,
	}
	var environ []string
	for name := range in {
		environ = append(environ, name+"=a=b")
	}
	out := Environ(environ)
	for name, want := range in {
		if got := Lookup(out, name) == "a=b"; got != want {
			t.Errorf("%s passes: %t", name, got)
		}
	}
	if got := Lookup([]string{"A=1", "B=", "A=2"}, "A"); got != "2" {
		t.Error(got)
	}
}
