//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"runtimed/internal/tool"
	kernels "runtimed/kernel"
)

// jupyter is a front-end with the real jupyter_client, in a house.
type jupyter struct {
	*house
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	holds string // the id of its kernel's environment, where a test has asked
}

// kill ends the front-end as the kernel of the system would; its kernels notice.
func (j *jupyter) kill() {
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait()
}

type step map[string]any

// told is what a step of the front-end comes back with.
type told struct {
	Error, Status, Ename, Evalue, Said, File, Failed, Forged string
	PID, Code                                                int
	Seconds                                                  float64
	Alive                                                    bool
}

// try has the front-end do something.
func (j *jupyter) try(what string, s step) (r told) {
	j.t.Helper()
	j.raw(what, s, &r)
	return r
}

func (j *jupyter) raw(what string, s step, into any) {
	j.t.Helper()
	began := time.Now()
	defer func() { j.t.Logf("to %s took %.1f s", what, time.Since(began).Seconds()) }()
	if err := j.ask(what, s, into); err != nil {
		j.t.Fatalf("the front-end does not %s: %v", what, err)
	}
}

// ask is raw for a front-end that may be killed meanwhile.
func (j *jupyter) ask(what string, s step, into any) error {
	if s == nil {
		s = step{}
	}
	s["do"] = what
	line, err := json.Marshal(s)
	if err == nil {
		_, err = fmt.Fprintf(j.in, "%s\n", line)
	}
	var answer string
	if err == nil {
		answer, err = j.out.ReadString('\n')
	}
	if err == nil {
		err = json.Unmarshal([]byte(answer), into)
	}
	return err
}

// do is try for what must succeed.
func (j *jupyter) do(what string, s step) told {
	j.t.Helper()
	r := j.try(what, s)
	if r.Error != "" {
		j.t.Fatalf("the front-end does not %s: %s", what, r.Error)
	}
	return r
}

// cell runs code and returns what it prints; it must succeed.
func (j *jupyter) cell(code string) string {
	j.t.Helper()
	r := j.do("run", step{"code": code})
	if r.Status != "ok" {
		j.t.Fatalf("%s: %s: %s\n%s", code, r.Ename, r.Evalue, r.Said)
	}
	return r.Said
}

// kernelspec writes one that starts runt kernel with these arguments.
func (h *house) kernelspec(name string, args ...string) {
	h.t.Helper()
	dir := filepath.Join(kernels.DataDir(runtime.GOOS, func(name string) string { return tool.Lookup(h.env, name) }),
		"kernels", name)
	text, err := json.Marshal(map[string]any{
		"argv": append([]string{runtProgram, "kernel", "-f", "{connection_file}"}, args...), "display_name": name,
		"language": "python",
		"env":      map[string]string{"RUNTIMED_NO_START": ""}, // which is told to a kernel by its arguments
	})
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kernel.json"), text, 0o644)
	}
	check(h.t, err)
}

// passesForAKernel has the kernel k, which says why there is none, do all that a front-end asks, and end. It cannot
// start a daemon.
func (j *jupyter) passesForAKernel(k told) {
	j.t.Helper()
	var statuses map[string]any
	j.raw("all_requests", nil, &statuses)
	for name, want := range map[string]any{
		"kernel_info": "ok", "is_complete": "complete", "complete": "ok", "inspect": "ok", "history": "ok",
		"comm_info": "ok", "interrupt": "ok",
		"debug": "error", "beats": true,
	} {
		if statuses[name] != want {
			j.t.Errorf("%s: %v", name, statuses[name])
		}
	}
	if r := j.do("strangers", nil); r.Forged != "" {
		j.t.Errorf("a message with another's signature is answered by %s", r.Forged)
	}
	if r := j.do("interrupt", nil); !r.Alive {
		j.t.Error("it ends when it is interrupted")
	}
	if r := j.do("run", step{"code": "1 + 1"}); r.Ename != "RuntimedError" ||
		!strings.Contains(r.Said, "the daemon is not running") ||
		!strings.Contains(r.Said, "restart the kernel to try again") {
		j.t.Errorf("it says %+v", r)
	}
	again := j.do("restart", nil)
	if r := j.do("run", step{"code": "1 + 1"}); r.Ename != "RuntimedError" || again.PID == k.PID {
		j.t.Errorf("after a restart it says %+v", r)
	}
	if end := j.do("shutdown", nil); end.Code != 0 || end.Seconds > 20 {
		j.t.Errorf("its end: %+v", end)
	}
}
