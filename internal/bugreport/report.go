// Package bugreport makes the archive of runt bugreport.
package bugreport

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

// Report is what goes into the archive.
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

// Write makes the archive beside path first, so that half of one is never there. Only its owner may read it.
func (b *Report) Write(path string) (err error) {
	defer func() {
		if err != nil {
			err = failure.New("writing %s: %v", path, err).WithHint("name another place with --output")
		}
	}()
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return errors.New("what is there is no file") // root could replace /dev/null
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".runt-bugreport-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.archive())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return safefile.Rename(f.Name(), path)
}

func (b *Report) archive() []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tw := tar.NewWriter(zip)
	for _, f := range b.files { // writing to memory does not fail
		_ = tw.WriteHeader(&tar.Header{
			Name: b.Name() + "/" + f.name, Mode: 0o600, Size: int64(len(f.text)), ModTime: b.at, Format: tar.FormatPAX,
		})
		_, _ = tw.Write([]byte(f.text))
	}
	_ = tw.Close()
	_ = zip.Close()
	return out.Bytes()
}

// Name is the name of the archive and of the folder in it.
func (b *Report) Name() string { return "runt-bugreport-" + b.at.Format("20060102-150405") }

// New collects all there is to tell. A part that fails does not keep the rest out. version is runt's.
func New(d *daemon.Control, version string) *Report {
	home, user := whoRuns()
	b := &Report{Redactor: anonymous(os.Environ(), home, user), version: version, at: time.Now()}
	b.collect(d)
	b.files = append([]file{{"README.txt", b.readme()}}, b.files...)
	return b
}

// Files returns the names of the files in the archive, and what could not be had, and why.
func (b *Report) Files() (names, failed []string) {
	names = make([]string, len(b.files))
	for i, f := range b.files {
		names[i] = f.name
	}
	return names, append([]string{}, b.failed...)
}

func whoRuns() (home, name string) {
	home, _ = os.UserHomeDir()
	if u, err := user.Current(); err == nil {
		_, after, _ := strings.Cut(u.Username, `\`) // DOMAIN\name on Windows
		name = cmp.Or(after, u.Username)
	}
	return home, name
}

// anonymous also takes out the home directory and the name of the user, who is to send the report to strangers.
func anonymous(environ []string, home, name string) *redact.Redactor {
	var homes, who *regexp.Regexp
	if home != "" && filepath.Dir(home) != home {
		real := statedir.RealPath(home)
		homes = regexp.MustCompile("(" + regexp.QuoteMeta(home) + "|" + regexp.QuoteMeta(real) + `)\b`)
	}
	if len(name) > 2 && name != "root" { // it is in other paths too, and in the name of a pipe
		who = regexp.MustCompile(`([/\\]|runtimed-)` + regexp.QuoteMeta(name) + `\b`)
	}
	r := redact.New(environ)
	r.After = func(s string) string {
		if homes != nil {
			s = homes.ReplaceAllString(s, "~")
		}
		if who != nil {
			s = who.ReplaceAllString(s, "${1}USER")
		}
		return s
	}
	return r
}
