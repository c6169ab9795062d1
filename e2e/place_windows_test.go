//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// houseOfLength has a state directory whose path has n characters, as Windows counts them.
func houseOfLength(t *testing.T, n int) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "rtd")
	check(t, err)
	room := n - len(utf16.Encode([]rune(filepath.Join(dir, `\AppData\Local\runt`)))) - 1
	return houseIn(t, dir, filepath.Join(dir, strings.Repeat("ü", room/2), strings.Repeat("x", room-room/2-1)))
}

func TestWindowsEnvironmentsWorkWhereTheirFilesHaveMoreThan260Characters(t *testing.T) {
	t.Parallel()
	h := houseOfLength(t, 190).withStandIn()
	h.configure(quickly + "1\n")
	d := h.start()
	h.filled("uv", time.Minute)
	id := h.ready()[0]
	deep := filepath.Join(h.state("envs", id), `Lib\site-packages`, deepest)
	if len([]rune(deep)) <= 260 || !isThere(deep) {
		t.Errorf("%d characters: %s", len([]rune(deep)), deep)
	}
	if s := h.tryWith("", "run", "--", "python", "exit", "7"); s != (said{code: 7}) {
		t.Errorf("%+v", s)
	}
	h.eventually(time.Minute, "it is removed", func() bool { return !isThere(h.state("envs", id)) })
	h.runt("env", "gc")
	if isThere(h.state("envs", ".trash", id)) {
		t.Error("it stays in the trash")
	}
	d.kill()
	h.filledAgain()
	h.runt("daemon", "stop")
}

// filledAgain starts a daemon that finds what an earlier one has left.
func (h *house) filledAgain() {
	h.t.Helper()
	h.start()
	h.filled("uv", time.Minute)
}

func TestWindowsAStateDirectoryThatIsTooLongIsRefusedAtOnce(t *testing.T) {
	h := houseOfLength(t, 191).withStandIn()
	h.configure(quickly + "1\n")
	const why = "the path has 191 characters, and Windows starts no program"
	d := h.launch()
	if code := d.exit(20 * time.Second); code != 1 || !strings.Contains(d.stderr.String(), why) {
		t.Errorf("exit code %d: %s", code, d.stderr)
	}
	if s := h.try("pool", "acquire", "--owner-pid", pidText()); s.code != 1 || !strings.Contains(s.err, why) {
		t.Errorf("%+v", s)
	}
	if isThere(h.state("envs")) {
		t.Error("something was made")
	}
}
