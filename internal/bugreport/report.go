// Package bugreport makes the archive of runt bugreport.
package bugreport

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
)

// Report is what goes into the archive, in this order.
type Report struct {
	*redact.Redactor
	files   []file
	failed  []string // what could not be had, and why
	version string
	at      time.Time
}

type file struct{ name, text string }

func (b *Report) add(name, text string) { b.files = append(b.files, file{name, b.Text(text)}) }

func (b *Report) addJSON(name string, raw []byte) {
	if clean, ok := b.JSON(raw, true); ok {
		b.files = append(b.files, file{name, string(clean) + "\n"})
	} else {
		b.add(name, string(raw))
	}
}

func (b *Report) fail(what string, err error) {
	b.failed = append(b.failed, b.Text(fmt.Sprintf("%s: %s", what, failure.Of(err).Message)))
}

func (b *Report) readme() string {
	var t strings.Builder
	fmt.Fprintf(&t, "A bug report of %s, made %s.\n\n", b.version, b.at.Format(time.RFC3339))
	for _, f := range b.files {
		fmt.Fprintf(&t, "  %-28s %s\n", f.name, safefile.Size(int64(len(f.text))))
	}
	if len(b.failed) > 0 {
		t.WriteString("\nWhat could not be had:\n")
		for _, line := range b.failed {
			fmt.Fprintf(&t, "  %s\n", redact.Printable(line))
		}
	}
	t.WriteString("\n*** stands for what was taken out, ~ for the home directory, USER for the user's name.\n")
	return t.String()
}

// Write makes the archive beside its place first, so that no half of one is ever there, and for its owner alone.
func (b *Report) Write(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() { // root could put it in the place of /dev/null
		return failure.New("writing %s: what is there is no file", path).WithHint("name another place with --output")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".runt-bugreport-")
	if err != nil {
		return failure.New("writing %s: %v", path, err).WithHint("name another place with --output")
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.archive())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return failure.New("writing %s: %v", path, err).WithHint("name another place with --output")
	}
	return nil
}

func (b *Report) archive() []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tw := tar.NewWriter(zip)
	for _, f := range b.files { // nothing of this fails: it is written to memory
		_ = tw.WriteHeader(&tar.Header{Name: b.Name() + "/" + f.name, Mode: 0o600, Size: int64(len(f.text)), ModTime: b.at, Format: tar.FormatPAX})
		_, _ = tw.Write([]byte(f.text))
	}
	_ = tw.Close()
	_ = zip.Close()
	return out.Bytes()
}

// Name is that of the archive and of the folder in it.
func (b *Report) Name() string { return "runt-bugreport-" + b.at.Format("20060102-150405") }

// New asks for all there is to tell. version is that of runt, in words.
func New(d *daemon.Control, version string) *Report {
	home, user := whoRuns()
	b := &Report{Redactor: anonymous(os.Environ(), home, user), version: version, at: time.Now()}
	b.collect(d)
	b.files = append([]file{{"README.txt", b.readme()}}, b.files...)
	return b
}

// Files names what is in the archive, in its order, and failed is what could not be had, and why.
func (b *Report) Files() (names, failed []string) {
	names = make([]string, len(b.files))
	for i, f := range b.files {
		names[i] = f.name
	}
	return names, append([]string{}, b.failed...)
}
