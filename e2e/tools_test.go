//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// gated is fastUV with builds that wait until the file of that name is in HOME.
func gated(name string) string {
	return "[ \"$1\" != venv ] || while [ ! -e \"$HOME/" + name + "\" ]; do sleep 0.02; done\n" + fastUV
}

func (h *house) open(gate string) { write(h, filepath.Join(h.home, gate), "") }

// lacking ends a test that cannot be run here. In CI there is no such test.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// mount puts a file system of its own at dir, which is made.
func (h *house) mount(t *testing.T, dir string, options ...string) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o700))
	if out, err := exec.Command("mount", append(options, dir)...).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("no file system can be mounted here: %v: %s", err, out))
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			_ = exec.Command("umount", "-l", dir).Run()
		}
	})
}

func (h *house) tmpfs(t *testing.T, dir, options string) {
	t.Helper()
	h.mount(t, dir, "-t", "tmpfs", "-o", "mode=0700,"+options, "tmpfs")
}

// logged is the lines of the log that have all these texts.
func (h *house) logged(texts ...string) []string {
	h.t.Helper()
	data, err := os.ReadFile(h.state("runtimed.log"))
	check(h.t, err)
	var lines []string
next:
	for line := range strings.Lines(string(data)) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// settled waits until the pool uv has what it should and nothing else is there, on disk as in the counts.
func (h *house) settled(size int, within time.Duration) {
	h.t.Helper()
	var s rpc.PoolStatus
	var names []string
	defer func() {
		if h.t.Failed() {
			h.t.Logf("status %+v, error %+v, folders %v", s, s.Error, names)
		}
	}()
	h.eventually(within, fmt.Sprintf("%d are ready and nothing else is there", size), func() bool {
		s, names = h.pool("uv"), h.folders()
		return s.Available == size && s.Warming+s.Leased+s.Removing == 0 && len(names) == size
	})
}

func (h *house) ids(state string) []string {
	h.t.Helper()
	var ids []string
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: &state}).Envs {
		ids = append(ids, e.ID)
	}
	return ids
}

// whole says what a handed-out environment of fastUV lacks.
func whole(path string) error {
	for _, name := range wholeFiles {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// line is a request as it goes over the wire.
func line(id any, method string, params any) string {
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		panic(err)
	}
	return string(data) + "\n"
}

// stranger is a client that is a process of its own, as the daemon sees it.
type stranger struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// netcat is `nc` of OpenBSD: not all machines have one, and others lack the options.
func netcat(args ...string) *exec.Cmd {
	return exec.Command("python3", append([]string{"-c", netcatScript}, args...)...)
}

const netcatScript = `import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[-1])
def send():
    while data := os.read(0, 65536):
        s.sendall(data)
    if "-N" in sys.argv:
        s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
`

func (h *house) stranger(t *testing.T) *stranger {
	t.Helper()
	cmd := netcat("-U", h.socket)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	s := &stranger{cmd, in, json.NewDecoder(out)}
	t.Cleanup(s.kill)
	return s
}

func (s *stranger) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// answer is a reply to a stranger.
type answer[R any] struct {
	ID     any
	Result R
	Error  *struct {
		Message string
		Data    struct{ Kind string }
	}
}

const (
	sigStop     = syscall.SIGSTOP
	sigContinue = syscall.SIGCONT
)

// names is how many a file has.
func names(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Nlink) }

// halfFree says whether the file system at dir has more room than it has used.
func halfFree(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Bfree*2 > st.Blocks
}
