package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
)

func TestTheLogStaysUnderItsCapWhileItIsWritten(t *testing.T) {
	t.Parallel()
	at := statedir.Paths{Folder: t.TempDir()}
	w := newLogFile(at, io.Discard)
	line := []byte(strings.Repeat("x", 9999) + "\n")
	for range 8 * logSize * 100 { // eight times what one file holds
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var total int64
		entries, err := os.ReadDir(at.Folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				total += info.Size()
			}
		}
		if total <= (logKept+1)*logSize<<20 && len(entries) <= logKept+1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes in %d files", total, len(entries))
		}
	}
}
