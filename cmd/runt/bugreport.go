package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
)

type bugreportCmd struct {
	Output string `short:"o" type:"path" placeholder:"FILE" help:"Write it here (default: runt-bugreport-DATE.tar.gz in this folder)."`
}

func (bugreportCmd) Help() string {
	return "It has versions, the system, what the daemon answers, the configuration, the findings of the doctor, the last lines of the log, " +
		"the service's files, and the names and sizes of what is in the state directory; no file of an environment. " +
		"Passwords and tokens are taken out, as far as they can be told from the rest."
}

// bugreport is what goes into the archive, in this order.
type bugreport struct {
	*redact.Redactor
	files  []reportFile
	failed []string // what could not be had, and why
}

type reportFile struct{ name, text string }

func (b *bugreport) add(name, text string) { b.files = append(b.files, reportFile{name, b.Text(text)}) }

func (b *bugreport) addJSON(name string, raw []byte) {
	if clean, ok := b.JSON(raw, true); ok {
		b.files = append(b.files, reportFile{name, string(clean) + "\n"})
	} else {
		b.add(name, string(raw))
	}
}

func (b *bugreport) fail(what string, err error) {
	b.failed = append(b.failed, b.Text(fmt.Sprintf("%s: %s", what, failure.Of(err).Message)))
}

func (c *bugreportCmd) Run(a *app) error {
	now := time.Now()
	name := "runt-bugreport-" + now.Format("20060102-150405")
	path := c.Output
	if path == "" {
		path = name + ".tar.gz"
	}
	home, user := whoRuns()
	b := &bugreport{Redactor: anonymous(os.Environ(), home, user)}
	b.collect(a)
	if a.Ctx.Err() != nil {
		return a.Ctx.Err()
	}
	b.files = append([]reportFile{{"README.txt", b.readme(now)}}, b.files...)
	if err := b.write(path, name, now); err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "runt: note: taken out are passwords, tokens, variables named like secrets, your home directory and your user name")
	fmt.Fprintln(a.stderr, "runt: note: a secret of another form cannot be told from the rest: look through it before you send it")
	if !a.json {
		fmt.Fprintln(a.stdout, path)
		return nil
	}
	names := make([]string, len(b.files))
	for i, f := range b.files {
		names[i] = f.name
	}
	return json.NewEncoder(a.stdout).Encode(struct {
		Path   string   `json:"path"`
		Files  []string `json:"files"`
		Failed []string `json:"failed"`
	}{path, names, append([]string{}, b.failed...)})
}

func (b *bugreport) readme(now time.Time) string {
	var t strings.Builder
	fmt.Fprintf(&t, "A bug report of %s, made %s.\n\n", versionLine(), now.Format(time.RFC3339))
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

// write makes the archive beside its place first, so that no half of one is ever there, and for its owner alone.
func (b *bugreport) write(path, folder string, now time.Time) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() { // root could put it in the place of /dev/null
		return failure.New("writing %s: what is there is no file", path).WithHint("name another place with --output")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".runt-bugreport-")
	if err != nil {
		return failure.New("writing %s: %v", path, err).WithHint("name another place with --output")
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.archive(folder, now))
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

func (b *bugreport) archive(folder string, now time.Time) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tw := tar.NewWriter(zip)
	for _, f := range b.files { // nothing of this fails: it is written to memory
		_ = tw.WriteHeader(&tar.Header{Name: folder + "/" + f.name, Mode: 0o600, Size: int64(len(f.text)), ModTime: now, Format: tar.FormatPAX})
		_, _ = tw.Write([]byte(f.text))
	}
	_ = tw.Close()
	_ = zip.Close()
	return out.Bytes()
}
