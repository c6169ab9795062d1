package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/safefile"
)

type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
	From string // the file to copy; Data is empty then
}

// Step is one thing to do. Exactly one of its first five fields is set.
type Step struct {
	Write  *File
	Folder string // to make, for its owner only
	Remove string // a file; a missing one is no failure
	Tidy   string // a folder, to remove if it is empty
	Run    []string

	Fine  []int // exit codes of Run besides 0 that are no failure; anyCode is all
	Again []int // exit codes after which Run is repeated for a while
}

const anyCode = -1

func (s Step) String() string {
	switch {
	case s.Write != nil && s.Write.From != "":
		return "copy " + s.Write.From + " to " + s.Write.Path
	case s.Write != nil:
		return "write " + s.Write.Path
	case s.Folder != "":
		return "make the folder " + s.Folder
	case s.Remove != "":
		return "remove " + s.Remove
	case s.Tidy != "":
		return "remove " + s.Tidy + " if it is empty"
	}
	words := make([]string, len(s.Run))
	for i, w := range s.Run {
		if words[i] = w; runtime.GOOS == "windows" {
			words[i] = windowsQuote(w)
		} else if w == "" || strings.ContainsAny(w, " \t\"'\\$*;&|<>()") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return "run " + strings.Join(words, " ")
}

// Text is the content for people.
func (f *File) Text() string {
	if bytes.HasPrefix(f.Data, utf16Mark) {
		return fromUTF16(f.Data)
	}
	return string(f.Data)
}

type Output struct {
	Stdout, Stderr string
	Code           int
}

// pairs are the names and values in lines of a command's output. Of two with one name, the first counts.
func pairs(text, between string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), between)
		if _, again := found[name]; !again {
			found[name] = value
		}
	}
	return found
}

type Runner interface {
	// Run returns an error only if the command could not be run to its end.
	Run(ctx context.Context, argv ...string) (Output, error)
}

// Commands is the [Runner] that runs them.
type Commands struct{}

// commandTime is for a manager that hangs. Starting a daemon takes longest.
const commandTime = 90 * time.Second

func (Commands) Run(ctx context.Context, argv ...string) (Output, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	_, exited := errors.AsType[*exec.ExitError](err)
	if exited && ctx.Err() == nil || errors.Is(err, exec.ErrWaitDelay) { // what it started holds its output open
		err = nil
	}
	return Output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}, err
}

// Run is repeated every againPause, for againTime in all.
const (
	againPause = 200 * time.Millisecond
	againTime  = 15 * time.Second
)

// Do takes the steps in order, up to the first failure, and calls tell before each.
func Do(ctx context.Context, run Runner, steps []Step, tell func(Step)) error {
	for _, s := range steps {
		tell(s)
		var err error
		switch {
		case s.Write != nil:
			err = s.Write.write()
		case s.Folder != "":
			err = os.MkdirAll(s.Folder, 0o700)
		case s.Remove != "":
			err = os.Remove(s.Remove)
		case s.Tidy != "":
			_ = os.Remove(s.Tidy) // fails if it is not empty
		default:
			err = s.run(ctx, run)
		}
		if err != nil && !(s.Remove != "" && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func (s Step) run(ctx context.Context, run Runner) error {
	for end := time.Now().Add(againTime); ; {
		out, err := run.Run(ctx, s.Run...)
		if err != nil {
			return fmt.Errorf("running %s: %w", s.Run[0], err)
		}
		if slices.Contains(s.Again, out.Code) && time.Now().Before(end) {
			select {
			case <-time.After(againPause):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if s.fine(out.Code) {
			return nil
		}
		message := fmt.Sprintf("%s failed (exit code %d)", strings.TrimPrefix(s.String(), "run "), out.Code)
		return &Problem{Message: message, Output: out.Stderr + out.Stdout}
	}
}

func (s Step) fine(code int) bool {
	if code == 0 {
		return !slices.Contains(s.Again, 0)
	}
	return slices.Contains(s.Fine, code) || slices.Contains(s.Fine, anyCode)
}

// The largest service file and program that are read, in bytes.
const (
	maxFile    = 1 << 20
	maxProgram = 1 << 30
)

func (f *File) content() ([]byte, error) {
	if f.From == "" {
		return f.Data, nil
	}
	return safefile.Read(f.From, maxProgram)
}

func (f *File) differs() bool {
	want, err1 := f.content()
	now, err2 := safefile.Read(f.Path, maxProgram)
	return err1 != nil || err2 != nil || !bytes.Equal(now, want)
}

// write renames: a running program cannot be written to, and half a file would be started at login.
func (f *File) write() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", f.Path, err)
		}
	}()
	data, err := f.content()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(f.Path), 0o700)
	}
	if err != nil {
		return err
	}
	path := f.Path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // people keep such files elsewhere and link to them
	}
	if occupied(path) {
		return &fs.PathError{Op: "replace", Path: path, Err: errors.New("it is not a file, so it is left alone")}
	}
	t, err := os.CreateTemp(filepath.Dir(path), ".runtimed-new-")
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	err = errors.Join(err, t.Chmod(f.Mode), t.Sync(), t.Close())
	if err == nil {
		err = replace(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return err
}

// replace is safefile.Rename. On Windows a program that was just ended is in use for a moment.
func replace(from, to string) error {
	for end := time.Now().Add(againTime); ; time.Sleep(againPause) {
		err := safefile.Rename(from, to)
		if runtime.GOOS != "windows" || !errors.Is(err, fs.ErrPermission) || time.Now().After(end) {
			return err
		}
	}
}

func writes(files []File) []Step {
	var steps []Step
	for i := range files {
		if files[i].differs() {
			steps = append(steps, Step{Write: &files[i]})
		}
	}
	return steps
}

// occupied reports whether a folder is there, or the device that a masked unit links to.
func occupied(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

const mark = "runt service install"

// foreign returns a *Problem if one of paths was not written by Install.
func foreign(paths ...string) error {
	for _, path := range paths {
		if !isFile(path) {
			continue
		}
		data, err := safefile.Read(path, maxFile)
		if err != nil {
			return &Problem{Message: err.Error(), Hint: "move it away"}
		}
		if !bytes.Contains(data, []byte(mark)) {
			return &Problem{Message: path + " was not written by " + mark + ", so it is left alone",
				Hint: "move it away to have runt manage the service"}
		}
	}
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
