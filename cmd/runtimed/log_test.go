package main

import (
	"io"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
)

func TestTheLogStaysUnderItsCapWhileItIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := statedir.Paths{Folder: dir, Own: dir}
	w := newLogFile(at, io.Discard)
	defer w.rotated.Close()
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

func TestTheLogIsRotatedWhileItIsReadAndCatchesCrashes(t *testing.T) {
	dir := t.TempDir()
	at := statedir.Paths{Folder: dir, Own: dir}
	w := newLogFile(at, io.Discard)
	defer w.rotated.Close()
	b := &logbook{file: w, place: at.Log()}
	defer func() { testkit.Check(t, debug.SetCrashOutput(nil, debug.CrashOptions{})) }()
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	for range 3 {
		_, err := w.Write(line)
		testkit.Check(t, err)
		b.catchCrashes()
		reader, err := safefile.OpenOwn(at.Log(), os.O_RDONLY, 0)
		testkit.Check(t, err)
		defer reader.Close()
		was, err := reader.Stat()
		testkit.Check(t, err)
		if !os.SameFile(was, b.trace) {
			t.Error("crashes are traced elsewhere")
		}
		for range logSize {
			_, err = w.Write(line)
			testkit.Check(t, err)
		}
		now, err := os.Stat(at.Log())
		testkit.Check(t, err)
		if os.SameFile(was, now) {
			t.Error("it was not rotated")
		}
	}
}
