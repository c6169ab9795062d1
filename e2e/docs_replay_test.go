//go:build e2e && unix

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/rpc"
)

// TestTheDocumentsShowWhatHappens has one daemon, configured as protocol.md says, do all that the documents show.
func TestTheDocumentsShowWhatHappens(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure(blocks(t, protocolDoc, "toml")[0].text)
	d := h.start()
	h.eventually(3*time.Minute, "the pool uv is filled, and old fails", func() bool {
		return h.pool("uv").Available == 1 && h.pool("old").Error != nil
	})
	check(t, os.Mkdir(h.state("envs", "notes"), 0o755))

	t.Run("files", func(t *testing.T) { filesAreTold(t, h) })
	t.Run("nc", func(t *testing.T) { pipesPrint(t, h) })
	x := exchange{house: h}
	var last []block
	for _, b := range blocks(t, protocolDoc, "jsonrpc") {
		if strings.Contains(b.text, rpc.MethodShutdown) {
			last = append(last, b)
			continue
		}
		t.Run(fmt.Sprintf("protocol.md:%d", b.line), func(t *testing.T) { x.replay(t, b) })
	}
	for _, b := range last {
		t.Run(fmt.Sprintf("protocol.md:%d", b.line), func(t *testing.T) { x.replay(t, b) })
	}
	if code := d.exit(5 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestEveryCommandIsUnderstood runs each runt of the sh blocks where no daemon can be started: none is a usage error.
func TestEveryCommandIsUnderstood(t *testing.T) {
	t.Parallel()
	dir, seen := t.TempDir(), 0
	if out, err := exec.Command("cp", runtProgram, dir).CombinedOutput(); err != nil { // with no daemon beside it
		t.Fatalf("%v: %s", err, out)
	}
	var all sync.WaitGroup
	for _, path := range pages(t) {
		for _, b := range blocks(t, path, "sh", "console") {
			for line := range strings.Lines(b.text) {
				line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "time ")
				if !strings.HasPrefix(line, "runt ") {
					continue
				}
				seen++
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // logs -f has no end
					defer cancel()
					cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
					cmd.Env = []string{"HOME=" + dir, "PATH=" + dir, "RUNTIMED_NO_START=1", "RUNTIMED_SOCKET=" + dir +
						"/s"}
					cmd.Path, cmd.Dir = "/bin/sh", dir // runt bugreport leaves a file
					out, err := cmd.CombinedOutput()
					if code := cmd.ProcessState.ExitCode(); code == 2 || code == 127 {
						t.Errorf("%s:%d: %s: %v: %s", path, b.line, line, err, out)
					}
				})
			}
		}
	}
	all.Wait()
	if seen < 20 {
		t.Errorf("only %d commands were found", seen)
	}
	help, err := exec.Command(daemonProgram, "run", "--help").Output()
	flags := regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(string(help), -1)
	if err != nil || len(flags) < 7 {
		t.Errorf("runtimed run --help: %v: %s", err, help)
	}
	for _, flag := range flags {
		if !strings.Contains(doc(t, operationsDoc), "`"+flag) {
			t.Errorf("operations.md does not name %s", flag)
		}
	}
}

// exchange replays the blocks of a document one after another.
type exchange struct {
	*house
	id string // what $ENV stands for

	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	more []any // read, and not shown yet
}

// replay sends what a block sends, and finds all that it shows among what comes, which may be more only where it is a
// notification.
func (x *exchange) replay(t *testing.T, b block) {
	x.t = t
	goesOn := strings.Contains(b.text, "$ENV") && !strings.Contains(b.text, rpc.MethodAcquire)
	if !goesOn {
		x.settle()
	}
	conn, err := net.Dial("unix", x.socket)
	check(t, err)
	defer conn.Close()
	x.conn, x.in, x.more = conn, bufio.NewReader(conn), nil
	known := goesOn
	for _, line := range joinLines(b.text) {
		line = strings.ReplaceAll(line, "$PID", strconv.Itoa(os.Getpid()))
		send, out := strings.CutPrefix(line, "-> ")
		show, in := strings.CutPrefix(line, "<- ")
		switch {
		case out && strings.Contains(send, "$ENV") && !known:
			t.Fatalf("$ENV is not known yet: %s", line)
		case out:
			x.send(strings.ReplaceAll(send, "$ENV", x.id))
		case in && strings.HasPrefix(show, "Content-Length"):
			want := strings.ReplaceAll(show, `\r\n`, "\r\n")
			got := make([]byte, len(want))
			if _, err := io.ReadFull(x.in, got); err != nil || string(got) != want {
				t.Errorf("got %q, %v, not %q", got, err, want)
			}
		case in:
			known = x.expect(show, known) || known
		default:
			t.Fatalf("neither sent nor expected: %s", line)
		}
	}
	for _, m := range x.more {
		if o, ok := m.(map[string]any); !ok || o["method"] == nil {
			t.Errorf("not shown: %s", text(m))
		}
	}
}

// settle has nothing leased and the pool filled.
func (x *exchange) settle() {
	x.t.Helper()
	for _, e := range must[rpc.EnvListResult](x.house, rpc.MethodEnvList,
		rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs {
		_, _ = ask[rpc.None](x.house, rpc.MethodRelease, rpc.EnvParams{Env: e.ID}) // it may have ended by itself
	}
	x.filled("uv", time.Minute)
}

func (x *exchange) send(message string) {
	x.t.Helper()
	end := "\n"
	if strings.HasPrefix(message, "Content-Length") {
		message, end = strings.ReplaceAll(message, `\r\n`, "\r\n"), ""
	}
	if _, err := io.WriteString(x.conn, message+end); err != nil {
		x.t.Fatal(err)
	}
}

// expect reads until something matches what is shown. Where $ENV is not known, it is the id in the first answer that
// has one, and true comes back.
func (x *exchange) expect(show string, known bool) (learned bool) {
	x.t.Helper()
	matches := func(m any) bool {
		want := show
		if !known && strings.Contains(show, "$ENV") {
			id := envOfAnswer(m)
			if id == "" {
				return false
			}
			x.id, learned = id, true
		}
		var w any
		if err := decodeNumbers(strings.ReplaceAll(want, "$ENV", x.id), &w); err != nil {
			x.t.Fatalf("what is shown is no JSON: %v: %s", err, want)
		}
		return shown(w, m)
	}
	for i, m := range x.more {
		if matches(m) {
			x.more = slices.Delete(x.more, i, i+1)
			return learned
		}
	}
	for {
		_ = x.conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := x.in.ReadString('\n')
		var m any
		if err == nil {
			err = decodeNumbers(line, &m)
		}
		if err != nil {
			x.t.Fatalf("%v\nnot among what came: %s\ncame: %s", err, show, text(x.more))
		}
		if matches(m) {
			return learned
		}
		x.more = append(x.more, m)
		if o, ok := m.(map[string]any); ok && o["id"] != nil &&
			strings.Contains(show, fmt.Sprintf(`"id":%v,`, text(o["id"]))) {
			x.t.Fatalf("shown: %s\n came: %s", show, line)
		}
	}
}

func envOfAnswer(m any) string {
	for _, name := range []string{"result", "env", "id"} {
		o, ok := m.(map[string]any)
		if !ok {
			return ""
		}
		m = o[name]
	}
	id, _ := m.(string)
	return id
}

// joinLines puts lines that begin with spaces behind the line before.
func joinLines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if short := strings.TrimLeft(line, " "); short != line && len(all) > 0 {
			all[len(all)-1] += short
		} else if line != "" {
			all = append(all, line)
		}
	}
	return all
}

func decodeNumbers(s string, to *any) error {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	return dec.Decode(to)
}

func text(v any) string {
	data, _ := json.Marshal(v) // came from JSON
	return string(data)
}

// shown says whether got holds all of want. "…" is anything, and in a text any part of it. The elements of a batch may
// have any order.
func shown(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for name, value := range w {
			inner, there := g[name]
			ok = ok && there && shown(value, inner)
		}
		return ok
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		rest := slices.Clone(g)
		for _, value := range w {
			i := slices.IndexFunc(rest, func(v any) bool { return shown(value, v) })
			if i < 0 {
				return false
			}
			rest = slices.Delete(rest, i, i+1)
		}
		return true
	case string:
		if w == "…" {
			return true
		}
		g, ok := got.(string)
		return ok && glob(w).MatchString(g)
	}
	return reflect.DeepEqual(want, got)
}

// glob is a text in which "…" stands for any part.
func glob(text string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*") + `$`)
}

// pipesPrint runs each sh block with nc in protocol.md, and compares what it prints with the block that follows.
func pipesPrint(t *testing.T, h *house) {
	path := os.Getenv("PATH")
	help, _ := exec.Command("nc", "-h").CombinedOutput()
	if said := string(help); !strings.Contains(said, "-N") || !strings.Contains(said, "-U") {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "nc"), []byte("#!/usr/bin/env python3\n"+netcatScript), 0o755))
		path = dir + ":" + path
	}
	all := blocks(t, protocolDoc, "sh", "output")
	for i, b := range all {
		if b.lang != "sh" {
			continue
		}
		cmd := exec.Command("sh", "-c", b.text)
		cmd.Env = []string{"HOME=" + h.home, "PATH=" + path}
		out, err := cmd.CombinedOutput()
		if err != nil || i+1 == len(all) || !glob(all[i+1].text).Match(out) {
			t.Errorf("protocol.md:%d: %v, and it prints %s", b.line, err, out)
		}
	}
}

var (
	envID = regexp.MustCompile(`\b[a-z][a-z0-9_-]*-[0-9a-f]{8}\b`)
)

// filesAreTold compares the state directory with the table of files in operations.md, both ways.
func filesAreTold(t *testing.T, h *house) {
	_, section, ok := strings.Cut(doc(t, operationsDoc), "\n## Files and folders\n")
	if !ok {
		t.Fatal("operations.md has no section on files")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	told := map[string]bool{}
	for _, row := range tableRow.FindAllStringSubmatch(section, -1) {
		for _, name := range code.FindAllStringSubmatch(row[1], -1) {
			told[strings.TrimSuffix(name[1], "/")] = true
			if strings.Contains(row[2], "always") && !there(h, name[1]) {
				t.Errorf("%s is told, and is not there", name[1])
			}
		}
	}
	err := filepath.WalkDir(h.state(), func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(h.state(), path)
		deep := strings.Count(name, "/")
		switch {
		case err != nil:
			return nil // it was on its way out
		case strings.HasSuffix(name, "/notes"), strings.HasPrefix(name, "envs/.trash/"),
			strings.HasPrefix(name, "envs/.new/"):
			return nil // not ours; or told as a whole
		case deep == 2 && strings.HasPrefix(name, "envs/") && filepath.Base(name) != "runtimed.json" &&
			filepath.Base(name) != "lease":
			return fs.SkipDir // of the venv
		case name != "." && !told[general(name)]:
			t.Errorf("%s is there, and is not told as %s", name, general(name))
		}
		if d.IsDir() && (deep == 2 || strings.HasPrefix(name, "tools/")) {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// general is the name of a file with what differs written in capitals.
func general(name string) string {
	name = envID.ReplaceAllString(name, "ID")
	name = regexp.MustCompile(`^k[0-9a-f]{8}$`).ReplaceAllString(name, "kDIGITS")
	name = regexp.MustCompile(`^tools/uv-[0-9.]+$`).ReplaceAllString(name, "tools/uv-VERSION")
	return regexp.MustCompile(`^locks/.*\.txt$`).ReplaceAllString(name, "locks/SPEC-pyVERSION.txt")
}

func there(h *house, name string) bool {
	pattern := regexp.MustCompile("ID|SPEC|VERSION|TIME").ReplaceAllString(name, "*")
	found, err := filepath.Glob(h.state(pattern))
	return err == nil && len(found) > 0
}
