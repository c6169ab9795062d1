package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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
	t.Parallel()
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
