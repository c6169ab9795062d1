package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
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
	"testing"
	"time"

	"runtimed/config"
	"runtimed/rpc"
)

// The documents are held to the code here: what they show is done, and what there is to name they name.
const (
	protocolDoc   = "../../docs/protocol.md"
	operationsDoc = "../../docs/operations.md"
)

func doc(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// block is a fenced part of a document.
type block struct {
	lang string
	line int // of its first line
	text string
}

func blocks(t *testing.T, path string, langs ...string) []block {
	t.Helper()
	var all []block
	var open *block
	for i, line := range strings.Split(doc(t, path), "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open != nil:
			all, open = append(all, *open), nil
		case fence:
			open = &block{lang: lang, line: i + 2}
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", path, open.line)
	}
	return slices.DeleteFunc(all, func(b block) bool { return !slices.Contains(langs, b.lang) })
}

// TestTheDocumentsShowWhatHappens has one daemon, configured as protocol.md says, do all that the documents show.
func TestTheDocumentsShowWhatHappens(t *testing.T) {
	h := newHouse(t).withUV()
	h.configure(blocks(t, protocolDoc, "toml")[0].text)
	d := h.start()
	h.eventually(3*time.Minute, "the pool uv is filled, and old fails", func() bool {
		return h.pool("uv").Available == 1 && h.pool("old").Error != nil
	})
	if err := os.Mkdir(h.state("envs", "notes"), 0o755); err != nil {
		t.Fatal(err)
	}

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

// exchange replays the blocks of a document one after another.
type exchange struct {
	*house
	id string // what $ENV stands for

	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	more []any // read, and not shown yet
}

// replay sends what a block sends, and finds all that it shows among what comes, which may be more only where it is a notification.
func (x *exchange) replay(t *testing.T, b block) {
	x.t = t
	goesOn := strings.Contains(b.text, "$ENV") && !strings.Contains(b.text, rpc.MethodAcquire)
	if !goesOn {
		x.settle()
	}
	conn, err := net.Dial("unix", x.socket)
	if err != nil {
		t.Fatal(err)
	}
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
	for _, e := range must[rpc.EnvListResult](x.house, rpc.MethodEnvList, rpc.EnvListParams{State: p(rpc.EnvLeased)}).Envs {
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

// expect reads until something matches what is shown. Where $ENV is not known, it is the id in the first answer that has one, and true comes back.
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
		if o, ok := m.(map[string]any); ok && o["id"] != nil && strings.Contains(show, fmt.Sprintf(`"id":%v,`, text(o["id"]))) {
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

// shown says whether got holds all of want. "…" is anything, and in a text any part of it. The elements of a batch may have any order.
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
	path := filepath.SplitList(os.Getenv("PATH"))
	if _, err := exec.LookPath("nc"); err != nil {
		dir := t.TempDir()
		script := `#!/usr/bin/env python3
import shutil, socket, sys
assert sys.argv[1:3] == ["-N", "-U"]
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[3])
s.sendall(sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
shutil.copyfileobj(s.makefile("rb"), sys.stdout.buffer)
`
		if err := os.WriteFile(filepath.Join(dir, "nc"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		path = append([]string{dir}, path...)
	}
	all := blocks(t, protocolDoc, "sh", "output")
	for i, b := range all {
		if b.lang != "sh" {
			continue
		}
		cmd := exec.Command("sh", "-c", b.text)
		cmd.Env = []string{"HOME=" + h.home, "PATH=" + strings.Join(path, ":")}
		out, err := cmd.CombinedOutput()
		if err != nil || i+1 == len(all) || !glob(all[i+1].text).Match(out) {
			t.Errorf("protocol.md:%d: %v, and it prints %s", b.line, err, out)
		}
	}
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| (`[^|]*`)[^|]* \\|(.*)\\|$")
	code     = regexp.MustCompile("`([^`]+)`")
	envID    = regexp.MustCompile(`\b[a-z][a-z0-9_-]*-[0-9a-f]{8}\b`)
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
		case strings.HasSuffix(name, "/notes"), strings.HasPrefix(name, "envs/.trash/"), strings.HasPrefix(name, "envs/.new/"):
			return nil // not ours; or told as a whole
		case deep == 2 && strings.HasPrefix(name, "envs/") && filepath.Base(name) != "runtimed.json" && filepath.Base(name) != "lease":
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
	name = regexp.MustCompile(`^tools/uv-[0-9.]+$`).ReplaceAllString(name, "tools/uv-VERSION")
	return regexp.MustCompile(`^locks/.*\.txt$`).ReplaceAllString(name, "locks/SPEC-pyVERSION.txt")
}

func there(h *house, name string) bool {
	pattern := regexp.MustCompile("ID|SPEC|VERSION|TIME").ReplaceAllString(name, "*")
	found, err := filepath.Glob(h.state(pattern))
	return err == nil && len(found) > 0
}

func TestEveryConfigurationKeyIsToldWithItsDefault(t *testing.T) {
	text := doc(t, operationsDoc)
	cfg, err := config.Load(config.Flags{}, func(name string) string { return map[string]string{"HOME": t.TempDir()}[name] })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Settings() {
		key := strings.NewReplacer("pools.uv.", "pools.NAME.", "pools.conda.", "pools.NAME.").Replace(s.Key)
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(key) + "` \\|([^|]*)\\|.*$").FindStringSubmatch(text)
		if row == nil {
			t.Errorf("%s has no row in a table", key)
			continue
		}
		value, err := json.Marshal(s.Value)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(string(value), ",", ", ")
		if key != "build.parallel" && !strings.Contains(row[1], "`"+want+"`") { // that one depends on the machine
			t.Errorf("the default of %s is %s, and not%s", s.Key, want, row[1])
		}
	}
}

func TestEveryTOMLBlockIsAConfiguration(t *testing.T) {
	for _, path := range []string{protocolDoc, operationsDoc, "../../README.md"} {
		for _, b := range blocks(t, path, "toml") {
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(config.Flags{Config: file}, func(string) string { return "" }); err != nil {
				t.Errorf("%s:%d: %v", path, b.line, err)
			}
		}
	}
}

// TestEveryCommandIsUnderstood runs each runt and runtimed of the sh blocks where no daemon runs and none can be started: no one is a usage error.
func TestEveryCommandIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	runt := filepath.Join(dir, "runt")
	if out, err := exec.Command("go", "build", "-o", runt, "runtimed/cmd/runt").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := 0
	for _, path := range []string{protocolDoc, operationsDoc, "../../README.md"} {
		for _, b := range blocks(t, path, "sh", "console") {
			for _, line := range strings.Split(b.text, "\n") {
				line = strings.TrimPrefix(line, "$ ")
				if !strings.HasPrefix(line, "runt ") {
					continue
				}
				seen++
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // logs -f has no end
				cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
				cmd.Env = []string{"HOME=" + dir, "PATH=" + dir, "RUNTIMED_NO_START=1", "RUNTIMED_SOCKET=" + dir + "/s"}
				cmd.Path = "/bin/sh"
				out, err := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code == 2 || code == 127 {
					t.Errorf("%s:%d: %s: %v: %s", path, b.line, line, err, out)
				}
				cancel()
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands were found", seen)
	}
}

// TestWhatThereIsToNameIsNamed goes through the constants and types of the contract, the flags, variables and exit codes.
func TestWhatThereIsToNameIsNamed(t *testing.T) {
	protocol, operations := doc(t, protocolDoc), doc(t, operationsDoc)
	names := func(where, text, name string) {
		t.Helper()
		if !strings.Contains(text, "`"+name) && !strings.Contains(text, `"`+name+`"`) && !strings.Contains(text, name+"`") {
			t.Errorf("%s does not name %s", where, name)
		}
	}
	consts := constants(t, "../../rpc/api.go", "../../rpc/errors.go")
	for name, value := range consts {
		for _, prefix := range []string{"Method", "Notify", "Kind", "Cause", "Env", "Pool", "Stage", "Source"} {
			if text, err := strconv.Unquote(value); err == nil && strings.HasPrefix(name, prefix) {
				names("protocol.md", protocol, text)
				if prefix == "Cause" {
					names("operations.md", operations, text)
				}
			}
		}
		if strings.HasPrefix(name, "Code") && !strings.Contains(protocol, "| "+value+" |") {
			t.Errorf("protocol.md has no row for the code %s", value)
		}
	}
	for _, tag := range jsonTags(t, "../../rpc/api.go", "../../rpc/errors.go") {
		names("protocol.md", protocol, tag)
	}
	for _, m := range (&methods{}).table() {
		if !strings.Contains(protocol, `"method":"`+m.Name+`"`) {
			t.Errorf("protocol.md has no example of %s", m.Name)
		}
	}
	for _, limit := range []string{
		fmt.Sprintf("| %d MiB |", rpc.MaxMessage>>20), fmt.Sprintf("| %d KiB |", rpc.MaxHeader>>10), fmt.Sprintf("| %d |", rpc.MaxRunning),
		fmt.Sprintf("| %d MiB | the daemon stops", rpc.MaxUnsent>>20), fmt.Sprintf("| %.0f s |", rpc.WriteTimeout.Seconds()),
		fmt.Sprintf("| %d bytes", rpc.MaxLabel), "of a batch | " + thousands(rpc.MaxBatch), "nesting of a message | " + thousands(rpc.MaxDepth),
		"in line | " + thousands(rpc.MaxQueued), "| " + thousands(rpc.MaxConnections) + ", or", "one pool | " + thousands(rpc.MaxWaiters),
		thousands(int(rpc.MaxWait.Milliseconds())), thousands(int(rpc.DefaultWait.Milliseconds())),
	} {
		if !strings.Contains(protocol, limit) {
			t.Errorf("protocol.md does not say %q", limit)
		}
	}

	var help bytes.Buffer
	run([]string{"run", "--help"}, &help, io.Discard)
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(help.String(), -1) {
		names("operations.md", operations, flag)
	}
	for _, variable := range regexp.MustCompile(`RUNTIMED_[A-Z_]+`).FindAllString(sources(t), -1) {
		names("operations.md", operations, variable)
	}
	for name, value := range constants(t, "../runt/fail.go", "main.go") {
		if strings.HasPrefix(name, "exit") && !strings.Contains(operations, "\n| "+value+" |") {
			t.Errorf("operations.md has no row for the exit code %s (%s)", value, name)
		}
	}
}

// TestTheMessagesOfTheTroubleshootingAreReal finds each message that operations.md quotes in the source that prints it.
func TestTheMessagesOfTheTroubleshootingAreReal(t *testing.T) {
	_, section, ok := strings.Cut(doc(t, operationsDoc), "\n## Troubleshooting\n")
	if !ok {
		t.Fatal("operations.md has no section on trouble")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	source, seen := sources(t), 0
	for _, row := range tableRow.FindAllStringSubmatch(section, -1) {
		for _, message := range code.FindAllStringSubmatch(row[1]+row[2], -1) {
			if !strings.Contains(message[1], "…") && strings.Count(message[1], " ") < 4 {
				continue // a name or a command
			}
			for _, part := range strings.Split(message[1], "…") {
				if part = strings.Trim(part, " :,()"); len(part) > 5 && !strings.Contains(source, part) {
					t.Errorf("nothing says %q of %q", part, message[1])
				}
				seen++
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d messages were found", seen)
	}
}

func TestTheLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	for _, path := range []string{protocolDoc, operationsDoc} {
		for _, l := range link.FindAllStringSubmatch(doc(t, path), -1) {
			target := path
			if l[1] != "" {
				target = filepath.Join(filepath.Dir(path), l[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if l[2] != "" && !slices.Contains(anchors(doc(t, target)), l[2]) {
				t.Errorf("%s: there is no heading %s in %s", path, l[2], target)
			}
		}
	}
}

func anchors(text string) []string {
	var all []string
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all = append(all, "#"+strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// sources is all Go of this module but the tests.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"../../rpc/*.go", "../../pool/*.go", "../../config/*.go", "../*/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatal(pattern, err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				all.WriteString(doc(t, path))
			}
		}
	}
	return all.String()
}

// constants are the constants of some files with a literal as their value, as the source writes it.
func constants(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range paths {
		ast.Inspect(parsed(t, path), func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					switch v := spec.Values[i].(type) {
					case *ast.BasicLit:
						found[name.Name] = v.Value
					case *ast.UnaryExpr:
						if lit, ok := v.X.(*ast.BasicLit); ok {
							found[name.Name] = v.Op.String() + lit.Value
						}
					}
				}
			}
			return true
		})
	}
	return found
}

func jsonTags(t *testing.T, paths ...string) []string {
	t.Helper()
	var tags []string
	for _, path := range paths {
		ast.Inspect(parsed(t, path), func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok && field.Tag != nil {
				raw, _ := strconv.Unquote(field.Tag.Value) // it compiles
				name, _, _ := strings.Cut(reflect.StructTag(raw).Get("json"), ",")
				tags = append(tags, name)
			}
			return true
		})
	}
	return tags
}

func parsed(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
