package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
)

func TestNothingIsLostWhileAReaderKeepsTheLogFromBeingRotated(t *testing.T) {
	dir := t.TempDir()
	at := statedir.Paths{Folder: dir, Own: dir}
	w := newLogFile(at, io.Discard)
	defer w.rotated.Close()
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	write := func(times int) {
		t.Helper()
		for range times {
			_, err := w.Write(line)
			testkit.Check(t, err)
		}
	}
	write(1)
	reader, err := os.Open(at.Log()) // which lets others write, but not rename
	testkit.Check(t, err)
	write(2*logSize - 1)
	if data, err := os.ReadFile(at.Log()); err != nil || !bytes.Equal(data, bytes.Repeat(line, 2*logSize)) {
		t.Errorf("%d bytes are there, %v", len(data), err)
	}
	if _, err := w.Write(line); err == nil {
		t.Error("it has no end")
	}
	testkit.Check(t, reader.Close())
	write(1)
	if info, err := os.Stat(at.Log()); err != nil || info.Size() != int64(len(line)) {
		t.Errorf("it was not rotated: %v, %v", info, err)
	}
}
